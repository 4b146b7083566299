//! `cumo bench compare`: two results against each other, or several side by side.

use std::process::ExitCode;

use anyhow::{Result, bail};
use cumo_results::compare::{CompareOptions, Comparison, SideBySide};

use super::super::console;
use super::read;
use crate::cli::{CompareArgs, CompareFormat};

pub(super) fn run(args: &CompareArgs) -> Result<ExitCode> {
    let results = read(&args.files)?;
    let [(first_name, first), (second_name, second)] = &results[..] else {
        let table = SideBySide::of(&results);
        let text = match args.format {
            CompareFormat::Table => table.to_text(),
            CompareFormat::Md => table.to_markdown(),
            CompareFormat::Json => table.to_json(),
        };
        console::print_line(text.trim_end())?;
        return Ok(ExitCode::SUCCESS);
    };
    let options = CompareOptions { threshold: args.threshold };
    let comparison = Comparison::of([first_name, second_name], [first, second], options);
    let text = match args.format {
        CompareFormat::Table => comparison.to_text(),
        CompareFormat::Md => comparison.to_markdown(),
        CompareFormat::Json => comparison.to_json(),
    };
    console::print_line(text.trim_end())?;
    if comparison.regressions().count() > 0 {
        return Ok(ExitCode::FAILURE);
    }
    if comparison.judged() == 0 {
        bail!(
            "the results have no metric of the model's work that can be judged: nothing of the same work in both, with two repetitions or more (--repetitions)"
        );
    }
    Ok(ExitCode::SUCCESS)
}
