//! `cumo-export inspect`.

use std::io::Write;

use anyhow::Context;
use cumo_checkpoint::Checkpoint;
use cumo_export::sources::unneeded;

use crate::cli::InspectArguments;
use crate::inspect::Report;

/// Prints what a checkpoint holds.
pub(crate) fn run(arguments: &InspectArguments) -> anyhow::Result<()> {
    let sources = arguments.checkpoint.sources();
    let checkpoint = Checkpoint::open(&sources).context("inspecting the checkpoint")?;
    super::warn_unneeded(&unneeded(&checkpoint, &sources));
    let report = Report::of(&checkpoint);
    let text = match arguments.json {
        true => serde_json::to_string_pretty(&report)? + "\n",
        false => report.to_string(),
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}
