//! `cumo verify`: every file against the manifest.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use cumo_bundle::{FileCheck, FileStatus, Folder, Unlisted};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::console;
use crate::cli::VerifyArgs;

/// What `--json` prints.
#[derive(Debug, Default, Serialize)]
struct Report {
    intact: bool,
    /// What is wrong with the manifest, which no file can then be compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    files: Vec<FileReport>,
    /// Files in the folder that the manifest does not list, the first hundred.
    unlisted: Vec<String>,
    /// How many more there are.
    unlisted_others: usize,
}

#[derive(Debug, Serialize)]
struct FileReport {
    name: String,
    bytes: u64,
    intact: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// The most unlisted names that people are shown.
const SHOWN: usize = 20;

pub(crate) fn run(args: &VerifyArgs) -> Result<ExitCode> {
    let mut report = Report::default();
    match check(&args.model) {
        Err(error) if args.json => {
            report.problem = Some(console::presentable(&format!("{error:#}")));
            console::print_json(&report)?;
            return Ok(ExitCode::FAILURE);
        }
        checks => report.files = checks?.into_iter().map(file_report).collect(),
    }
    let Unlisted { names, others } = Folder::unlisted(&args.model)?;
    (report.unlisted, report.unlisted_others) = (names, others);
    report.intact = report.files.iter().all(|file| file.intact);
    match args.json {
        true => console::print_json(&report)?,
        false => for_people(&report, &args.model)?,
    }
    Ok(if report.intact { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Says what was found.
///
/// # Errors
/// Files are not as they were written.
fn for_people(report: &Report, model: &Path) -> Result<()> {
    let problems: Vec<&String> =
        report.files.iter().filter_map(|file| file.problem.as_ref()).collect();
    for problem in &problems {
        console::print_line(&format!("damaged: {}", console::presentable(problem)))?;
    }
    if problems.is_empty() {
        console::print_line(&format!("{} files are as they were written", report.files.len()))?;
    }
    if let Some(note) = unlisted_note(report) {
        console::note(&note);
    }
    ensure!(
        problems.is_empty(),
        "{}: {} of {} files are not as they were written; copy the bundle again, or export it anew",
        model.display(),
        problems.len(),
        report.files.len()
    );
    Ok(())
}

/// What lies in the folder and is not the model's, in a line.
fn unlisted_note(report: &Report) -> Option<String> {
    let shown = &report.unlisted[..report.unlisted.len().min(SHOWN)];
    let rest = report.unlisted.len() - shown.len() + report.unlisted_others;
    let rest = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    let names = shown.join(", ");
    (!shown.is_empty()).then(|| format!("note: not in the manifest: {names}{rest}"))
}

/// Every file's state, with a bar on a terminal; a pipe gets the results alone.
fn check(bundle: &Path) -> Result<Vec<FileCheck>> {
    let total = Folder::listed_bytes(bundle)?;
    let style = "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec}";
    let bar = ProgressBar::new(total).with_style(ProgressStyle::with_template(style)?);
    let checks = Folder::verify(bundle, |bytes| bar.inc(bytes))?;
    bar.finish_and_clear();
    Ok(checks)
}

fn file_report(check: FileCheck) -> FileReport {
    let name = check.name;
    let problem = match check.status {
        FileStatus::Intact => None,
        FileStatus::Damaged(problem) => Some(problem),
        FileStatus::Altered { expected, found } => {
            Some(format!("`{name}` has sha256 {found}, the manifest says {expected}"))
        }
    };
    FileReport { name, bytes: check.bytes, intact: problem.is_none(), problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_unlisted_files_some_are_shown() {
        let note = |names: usize, others| {
            let unlisted = (0..names).map(|name| name.to_string()).collect();
            unlisted_note(&Report { unlisted, unlisted_others: others, ..Report::default() })
        };
        assert_eq!(note(0, 0), None);
        assert_eq!(note(2, 0).unwrap(), "note: not in the manifest: 0, 1");
        let many = note(100, 7).unwrap();
        assert!(many.contains(", 19 and 87 more") && !many.contains("20"), "{many}");
    }
}
