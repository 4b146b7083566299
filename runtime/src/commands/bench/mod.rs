//! `cumo bench`: measures, compares and reports.

mod cold;
mod compare;
mod measure;
mod progress;
mod report;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use cumo_results::BenchResult;

use super::console;
use crate::cli::{BenchArgs, BenchCommand};

pub(crate) fn run(args: &BenchArgs) -> Result<ExitCode> {
    match (&args.command, &args.measure.0) {
        (Some(BenchCommand::Compare(args)), _) => or_bad_input(compare::run(args)),
        (Some(BenchCommand::Report(args)), _) => or_bad_input(report::run(args)),
        (Some(BenchCommand::FirstAnswer(args)), _) => cold::first_answer(args),
        (None, Some(args)) => measure::run(args),
        // The command line's parser asks for one of them.
        (None, None) => anyhow::bail!("there is no model to measure (--model)"),
    }
}

/// The exit code of files that cannot be used: 1 is a regression's.
const BAD_INPUT: u8 = 2;

fn or_bad_input(result: Result<ExitCode>) -> Result<ExitCode> {
    match result {
        Err(error) if !console::is_broken_pipe(&error) => {
            console::error(&error);
            Ok(ExitCode::from(BAD_INPUT))
        }
        result => result,
    }
}

/// Results by the names of their files.
fn read(files: &[PathBuf]) -> Result<Vec<(String, BenchResult)>> {
    files.iter().map(|file| Ok((name(file, files), BenchResult::read(file)?))).collect()
}

/// A file's name without its folder, where that tells it from the others.
fn name(file: &Path, files: &[PathBuf]) -> String {
    let alike = files.iter().filter(|other| other.file_name() == file.file_name()).count();
    match file.file_name() {
        Some(name) if alike == 1 => name.to_string_lossy().into_owned(),
        _ => file.display().to_string(),
    }
}
