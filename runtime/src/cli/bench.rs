//! The options of `cumo bench`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// Measure a model, compare results, and make a page of them.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true, args_conflicts_with_subcommands = true)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    pub(crate) command: BenchCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    Compare(CompareArgs),
    Report(ReportArgs),
}

/// Compare a result with an earlier one, or show several side by side.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cumo bench compare before.json after.json
  cumo bench compare before.json after.json --threshold 5 --format md >> summary.md
  cumo bench compare orin.json thor.json rtx.json

Of two files the second is held against the first, metric by metric, with the 95 % interval of the
change (Welch's t over repetitions). A change counts where it is no chance (5 % for all rows
together, after Holm) and larger than the threshold.
The exit code is 0 without a regression, 1 with one, 2 where a file cannot be used. Of three and
more files nothing is judged.")]
pub(crate) struct CompareArgs {
    /// Results of `cumo bench`; the first is what others are held against
    #[arg(value_name = "FILE", required = true, num_args = 2..)]
    pub(crate) files: Vec<PathBuf>,
    /// The least change that counts, in percent
    #[arg(long, value_name = "PERCENT", default_value = "3", value_parser = percent, allow_hyphen_values = true)]
    pub(crate) threshold: f64,
    /// How to print it; JSON is for two files
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

The exit code is 2 where a file cannot be used or the page cannot be written; a page that was there
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
