//! `cumo verify`: every file against the manifest.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use cumo_bundle::{FileCheck, FileStatus, Folder};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::console;
use crate::cli::VerifyArgs;

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report {
    intact: bool,
    /// What is wrong with the manifest, which no file can then be compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    files: Vec<FileReport>,
}

#[derive(Debug, Serialize)]
struct FileReport {
    name: String,
    bytes: u64,
    intact: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

pub(crate) fn run(args: &VerifyArgs) -> Result<ExitCode> {
    let checks = match check(&args.model) {
        Err(error) if args.json => {
            let problem = Some(console::presentable(&format!("{error:#}")));
            console::print_json(&Report { intact: false, problem, files: Vec::new() })?;
            return Ok(ExitCode::FAILURE);
        }
        checks => checks?,
    };
    let files: Vec<FileReport> = checks.into_iter().map(report).collect();
    let problems: Vec<&String> = files.iter().filter_map(|file| file.problem.as_ref()).collect();
    let intact = problems.is_empty();
    if args.json {
        console::print_json(&Report { intact, problem: None, files })?;
    } else if intact {
        console::print_line(&format!("{} files are as they were written", files.len()))?;
    } else {
        for problem in &problems {
            console::print_line(&format!("damaged: {}", console::presentable(problem)))?;
        }
        anyhow::bail!(
            "{}: {} of {} files are not as they were written; copy the bundle again, or export it anew",
            args.model.display(),
            problems.len(),
            files.len()
        );
    }
    Ok(if intact { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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

fn report(check: FileCheck) -> FileReport {
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
