//! The options of `cumo bench` itself: what is measured.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{ArgMatches, Args, Command, FromArgMatches, ValueEnum};
use cumo_runtime::bench::BenchOptions;

use super::{ModelArgs, whole};

/// What is measured.
#[derive(Debug, Clone, Args)]
pub(crate) struct MeasureArgs {
    #[command(flatten)]
    pub(crate) work: WorkArgs,
    /// Repetitions that count
    #[arg(short, long, value_name = "N", default_value = "10", value_parser = repetitions)]
    pub(crate) repetitions: NonZeroUsize,
    /// Repetitions before them that do not
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = count)]
    pub(crate) warmup: usize,
    /// Positions in the cache before prompts of text alone and before tokens; those that the model
    /// has no room for are skipped
    #[arg(
        short,
        long,
        value_name = "N,N",
        value_delimiter = ',',
        default_value = "0,1024,4096",
        value_parser = whole::<usize>
    )]
    pub(crate) depth: Vec<usize>,
    /// New processes that answer once each; before every other one, the first among them, the
    /// bundle's files are dropped from the page cache where the system does that
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = whole::<usize>)]
    pub(crate) cold_starts: usize,
    /// Count the choices of experts with this bundle of the same model [default: the measured one,
    /// unless it was exported with `--no-choices`]
    #[arg(long, value_name = "DIR")]
    pub(crate) routers: Option<PathBuf>,
    /// How to print the result
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub(crate) format: ResultFormat,
    /// Write the whole result, with every sample, into this file as JSON
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// What is measured, unless a subcommand is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Measuring(pub(crate) Option<MeasureArgs>);

impl FromArgMatches for Measuring {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let measures = matches.subcommand_name().is_none();
        Ok(Measuring(measures.then(|| MeasureArgs::from_arg_matches(matches)).transpose()?))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Measuring::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Measuring {
    fn augment_args(command: Command) -> Command {
        MeasureArgs::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        MeasureArgs::augment_args_for_update(command)
    }
}

/// The work of a repetition, which new processes do too.
#[derive(Debug, Clone, Args)]
pub(crate) struct WorkArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// An image of the question; give it again for more [default: a synthetic one of 640 x 480]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) image: Vec<PathBuf>,
    /// Ask without an image
    #[arg(long, conflicts_with = "image")]
    pub(crate) no_image: bool,
    /// Text tokens of the question, and of prompts of text alone
    #[arg(short, long, value_name = "N", default_value = "64", value_parser = repetitions)]
    pub(crate) prompt_tokens: NonZeroUsize,
    /// Tokens that are generated in a repetition
    #[arg(short = 'n', long = "gen", value_name = "N", default_value_t = 128, value_parser = count)]
    pub(crate) generate_tokens: usize,
    /// Chooses the random tokens
    #[arg(long, value_name = "SEED", default_value_t = 1, value_parser = whole::<u64>)]
    pub(crate) seed: u64,
}

impl WorkArgs {
    /// The work with these images, for one repetition without a depth.
    pub(crate) fn options(&self, images: Vec<PathBuf>) -> BenchOptions {
        BenchOptions {
            images,
            prompt_tokens: self.prompt_tokens.get(),
            generate_tokens: self.generate_tokens,
            repetitions: 1,
            warmup: 0,
            depths: Vec::new(),
            seed: self.seed,
        }
    }
}

/// How a result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ResultFormat {
    Table,
    Json,
    Md,
    Csv,
}

/// The most repetitions and tokens: memory is taken for each before the first is measured.
const MOST: usize = 1 << 20;

fn repetitions(text: &str) -> Result<NonZeroUsize, String> {
    NonZeroUsize::new(count(text)?).ok_or_else(|| "it must be 1 or more".to_owned())
}

fn count(text: &str) -> Result<usize, String> {
    match whole(text)? {
        count if count <= MOST => Ok(count),
        _ => Err(format!("it must be {MOST} or less")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn measure(arguments: &[&str]) -> Result<MeasureArgs, String> {
        let all = ["cumo", "bench", "-m", "m"].iter().chain(arguments);
        match Cli::try_parse_from(all).map_err(|error| error.to_string())?.command {
            Command::Bench(bench) => bench.measure.0.ok_or_else(|| "a subcommand".to_owned()),
            _ => Err("another command".to_owned()),
        }
    }

    #[test]
    fn defaults_are_what_the_help_says() {
        let args = measure(&[]).unwrap();
        assert_eq!((args.work.prompt_tokens.get(), args.work.generate_tokens), (64, 128));
        assert_eq!((args.repetitions.get(), args.warmup), (10, 2));
        assert_eq!(args.depth, [0, 1024, 4096]);
        assert_eq!(args.format, ResultFormat::Table);
    }

    #[test]
    fn images_and_no_image_exclude_each_other_and_counts_are_checked() {
        let error = measure(&["--image", "a.png", "--no-image"]).unwrap_err();
        assert!(error.contains("cannot be used with"), "{error}");
        assert!(measure(&["--repetitions", "0"]).unwrap_err().contains("1 or more"));
        for option in ["--repetitions", "--warmup", "--prompt-tokens", "--gen"] {
            let error = measure(&[option, "999999999"]).unwrap_err();
            assert!(error.contains("1048576 or less"), "{error}");
        }
        assert!(measure(&["--prompt-tokens", "0"]).unwrap_err().contains("1 or more"));
        assert!(measure(&["--depth", "0,-1"]).unwrap_err().contains("whole number"));
        assert_eq!(measure(&["--depth", "7"]).unwrap().depth, [7]);
    }
}
