//! The options of `cumo bench`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::measure::{Measuring, WorkArgs};

/// Measure a model, compare results, and make a page of them.
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
#[command(after_help = "Examples:
  cumo bench --model bundle
  cumo bench --model bundle --image cat.jpg --gen 64 --repetitions 20 --output r.json
  cumo bench --model bundle --depth 0,1024 --format md
  cumo bench compare before.json after.json
  cumo bench report r.json -o report.html

What is timed:
  question  image files to the first token, and its parts; then every token, as `cumo run` gives it
  pp        a prompt of random tokens behind a depth of the context, to its last logits
  tg        random tokens one by one behind a depth, each to the choice of the best next one
pp and tg stand beside those of llama-bench, which does not choose; text is made in neither. \
Every question begins with an empty cache. On a device each stage is waited for until the first \
token is there, and not behind it. Tokens are random: prompts and answers mean nothing.
Results keep every sample. Ctrl-C ends it, and nothing is written (exit code 130).")]
pub(crate) struct BenchArgs {
    // Before the subcommand, which is taken out of what was parsed.
    #[command(flatten)]
    pub(crate) measure: Measuring,
    #[command(subcommand)]
    pub(crate) command: Option<BenchCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    Compare(CompareArgs),
    Report(ReportArgs),
    /// Answer once, for cold starts
    #[command(hide = true)]
    FirstAnswer(WorkArgs),
}

/// Compare a result with an earlier one, or show several side by side.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cumo bench compare before.json after.json
  cumo bench compare before.json after.json --threshold 5 --format md >> summary.md
  cumo bench compare orin.json thor.json rtx.json

Of two files the second is held against the first, metric by metric, with the 95 % interval of the \
change (Welch's t over repetitions). A change counts where it is no chance (5 % for all rows \
together, after Holm) and larger than the threshold.
The exit code is 0 without a regression, 1 with one, 2 where a file cannot be used or no metric of \
the model's work could be judged: none in common, other work, or one repetition. \
Of three and more files nothing is judged.")]
pub(crate) struct CompareArgs {
    /// Results of `cumo bench`; the first is what others are held against
    #[arg(value_name = "FILE", required = true, num_args = 2..)]
    pub(crate) files: Vec<PathBuf>,
    /// The least change that counts, in percent
    #[arg(long, value_name = "PERCENT", default_value = "3", value_parser = percent, allow_hyphen_values = true)]
    pub(crate) threshold: f64,
    /// How to print it
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub(crate) format: CompareFormat,
}

/// How a comparison is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompareFormat {
    Table,
    Md,
    Json,
}

/// Make one HTML page of results: plots and tables, which opens without a network.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cumo bench report r.json -o report.html
  cumo bench report benches/results/*.json -o report.html

The exit code is 2 where a file cannot be used or the page cannot be written; a page that was there \
is then unchanged.")]
pub(crate) struct ReportArgs {
    /// Results of `cumo bench`, in the order of the page
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Where the page goes
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
}

/// A share from percent.
fn percent(text: &str) -> Result<f64, String> {
    let percent: f64 =
        text.trim_end_matches('%').trim_end().parse().map_err(|error| format!("{error}"))?;
    if (0.0..=1000.0).contains(&percent) {
        Ok(percent / 100.0)
    } else {
        Err("it must be between 0 and 1000 percent".to_owned())
    }
}
