//! `cumo bench compare`: two results against each other, or several side by side.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use cumo_results::compare::{CompareOptions, Comparison, SideBySide};

use super::super::console;
use super::read;
use crate::cli::{CompareArgs, CompareFormat};

pub(super) fn run(args: &CompareArgs) -> Result<ExitCode> {
    let results = read(&args.files)?;
    let [first, second] = &results[..] else {
        let table = SideBySide::of(&results);
        let text = match args.format {
            CompareFormat::Table => table.to_text(),
            CompareFormat::Md => table.to_markdown(),
            CompareFormat::Json => bail!("--format json is for two files"),
        };
        console::print_line(text.trim_end())?;
        return Ok(ExitCode::SUCCESS);
    };
    let names: Vec<String> = args.files.iter().map(|file| name(file, &args.files)).collect();
    let names = [0, 1].map(|index| names.get(index).map_or("", String::as_str));
    let options = CompareOptions { threshold: args.threshold };
    let comparison = Comparison::of(names, [first, second], options);
    let text = match args.format {
        CompareFormat::Table => comparison.to_text(),
        CompareFormat::Md => comparison.to_markdown(),
        CompareFormat::Json => comparison.to_json(),
    };
    console::print_line(text.trim_end())?;
    let worse = comparison.regressions().count() > 0;
    Ok(if worse { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A file's name without its folder, where that tells it from the others.
fn name(file: &Path, files: &[impl AsRef<Path>]) -> String {
    let alike = files.iter().filter(|other| other.as_ref().file_name() == file.file_name()).count();
    match file.file_name() {
        Some(name) if alike == 1 => name.to_string_lossy().into_owned(),
        _ => file.display().to_string(),
    }
}
