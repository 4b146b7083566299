//! `cumo verify`: every file against the manifest.

use std::process::ExitCode;

use anyhow::Result;
use cumo_bundle::{Bundle, FileCheck, FileStatus};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::console;
use crate::cli::VerifyArgs;

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report {
    intact: bool,
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
    // Shown on a terminal only; a pipe gets the results alone.
    let total = Bundle::read_manifest(&args.model)?.files.values().map(|file| file.bytes).sum();
    let style = "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec}";
    let bar = ProgressBar::new(total).with_style(ProgressStyle::with_template(style)?);
    let checks = Bundle::verify(&args.model, |bytes| bar.inc(bytes))?;
    bar.finish_and_clear();

    let intact = checks.iter().all(|check| check.status == FileStatus::Intact);
    let count = checks.len();
    let files: Vec<FileReport> = checks.into_iter().map(report).collect();
    if args.json {
        console::print_json(&Report { intact, files })?;
    } else {
        for problem in files.iter().filter_map(|file| file.problem.as_ref()) {
            console::print_line(problem)?;
        }
        if intact {
            console::print_line(&format!("{count} files are as they were written"))?;
        }
    }
    Ok(if intact { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
