//! `cumo bench report`: results as one HTML page.

use std::process::ExitCode;

use anyhow::Result;
use cumo_results::{report, write_whole};

use super::super::console;
use super::read;
use crate::cli::ReportArgs;

pub(super) fn run(args: &ReportArgs) -> Result<ExitCode> {
    let page = report::to_html(&read(&args.files)?);
    write_whole(&args.output, page.as_bytes())?;
    console::note(&format!("{} of {} results", args.output.display(), args.files.len()));
    Ok(ExitCode::SUCCESS)
}
