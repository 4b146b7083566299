//! CuMo-Mistral-7B's sizes with random weights: two layers a part, and all of them.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::measurement::{Subject, measure};
use super::programs::{Programs, free_bytes};
use super::table::{Outcome, Row, Table};
use super::weights_ways;
use crate::workspace::Workspace;
use crate::{folder, real_shapes};

/// Room for 4,096 positions before a prompt and tokens.
const ENGINE: [&str; 4] = ["--max-prompt", "2048", "--max-context", "8192"];

/// Two layers a part: weights each way.
pub(super) fn two_layers(workspace: &Workspace, programs: &Programs, table: &mut Table) {
    const NAME: &str = "two layers";
    // A checkpoint, its bundle, and engines with the weights in them: 4 GB.
    if let Err(why) = there_is_room(programs, 4.0, 10e9) {
        table.rows.push(Row::engine(NAME, Outcome::Skipped, &why));
        return;
    }
    match export(workspace, programs, "two-layers", &["--layers", "2"]) {
        Ok(bundle) => {
            weights_ways::check(programs, NAME, &bundle, (&ENGINE, &[]), table);
            drop(folder::remove(&bundle));
        }
        Err(error) => table.rows.push(Row::engine(NAME, Outcome::Failed, &format!("{error:#}"))),
    }
}

/// All layers: 15 GiB of weights on the device, 33 GB of the disk.
pub(super) fn whole(workspace: &Workspace, programs: &Programs, table: &mut Table) {
    const NAME: &str = "all layers";
    if let Err(why) = there_is_room(programs, 20.0, 40e9) {
        table.rows.push(Row::engine(NAME, Outcome::Skipped, &why));
        return;
    }
    let built = export(workspace, programs, "cumo-mistral-7b-shapes", &[]).and_then(|bundle| {
        let engines = programs.engines(&bundle, "all-layers", &ENGINE)?;
        Ok((bundle, engines))
    });
    match built {
        Ok((bundle, engines)) => {
            measure(programs, &Subject { name: NAME, engines: &engines, options: &[] }, table);
            drop(folder::remove(&engines));
            drop(folder::remove(&bundle));
        }
        Err(error) => table.rows.push(Row::engine(NAME, Outcome::Failed, &format!("{error:#}"))),
    }
}

/// Makes a checkpoint and exports it; the checkpoint is then removed.
fn export(
    workspace: &Workspace,
    programs: &Programs,
    name: &str,
    options: &[&str],
) -> Result<PathBuf> {
    let checkpoint = programs.work.join(format!("{name}-checkpoint"));
    folder::remove(&checkpoint)?;
    real_shapes::make(workspace, &checkpoint, options)?;
    let bundle = programs.bundle(&checkpoint, name, "plugin");
    folder::remove(&checkpoint)?;
    bundle
}

/// Whether a device is there with `memory_gb` GiB, and a disk with `disk` bytes free.
///
/// # Errors
/// What is missing.
fn there_is_room(programs: &Programs, memory_gb: f64, disk: f64) -> Result<(), String> {
    let device = programs.device.as_ref().ok_or("no device")?;
    let free = free_bytes(&programs.work).map(|bytes| bytes as f64);
    room(device.memory_gb, memory_gb, free, disk, &programs.work)
}

fn room(
    memory: Option<f64>,
    memory_gb: f64,
    free: Option<f64>,
    disk: f64,
    folder: &Path,
) -> Result<(), String> {
    match memory {
        None => return Err("the device's memory is not known".to_owned()),
        Some(memory) if memory < memory_gb => {
            return Err(format!(
                "it takes a device with {memory_gb:.0} GiB, this one has {memory:.1}"
            ));
        }
        Some(_) => {}
    }
    match free {
        Some(free) if free < disk => Err(format!(
            "it takes {:.0} GB of the disk, {} has {:.1} free",
            disk / 1e9,
            folder.display(),
            free / 1e9
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_room_is_told() {
        let room = |memory, free| room(memory, 20.0, free, 40e9, Path::new("target/gpu"));
        assert_eq!(room(Some(24.0), Some(50e9)), Ok(()));
        assert_eq!(room(Some(24.0), None), Ok(()));
        let error = room(Some(7.4), Some(50e9)).unwrap_err();
        assert_eq!(error, "it takes a device with 20 GiB, this one has 7.4");
        let error = room(Some(24.0), Some(1e9)).unwrap_err();
        assert_eq!(error, "it takes 40 GB of the disk, target/gpu has 1.0 free");
        assert_eq!(room(None, None).unwrap_err(), "the device's memory is not known");
    }
}
