//! CuMo-Mistral-7B's sizes with random weights: two layers a part, and all of them.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::measurement::{Subject, measure};
use super::programs::{Programs, free_bytes};
use super::table::{Outcome, Row, Table};
use super::{sample_answers, weights_ways};
use crate::workspace::Workspace;
use crate::{folder, real_shapes};

/// Room for 4,096 positions before a prompt and tokens.
const ENGINE: [&str; 4] = ["--max-prompt", "2048", "--max-context", "8192"];

/// On the stand-in every width is an eighth of the real one, with all layers: the processor's time
/// and memory are short, and what is shown is that the steps work.
const NARROW: [&str; 2] = ["--narrow", "8"];
const ENGINE_OF_NARROW: [&str; 4] = ["--max-prompt", "640", "--max-context", "1024"];

/// What a subject needs and how it is made.
struct Model {
    /// What rows call it.
    name: &'static str,
    /// What bundle and results are called.
    bundle: &'static str,
    /// Options of `benches/real_shapes.py`.
    shapes: &'static [&'static str],
    /// GiB on the device.
    memory_gb: f64,
    /// Bytes of the disk.
    disk: f64,
}

/// Two layers a part: a checkpoint, its bundle, and engines with the weights in them, 4 GB.
const TWO_LAYERS: Model = Model {
    name: "two layers",
    bundle: "two-layers",
    shapes: &["--layers", "2"],
    memory_gb: 4.0,
    disk: 10e9,
};

/// All layers: 15 GiB of weights on the device, 33 GB of the disk.
const WHOLE: Model = Model {
    name: "all layers",
    bundle: "cumo-mistral-7b-shapes",
    shapes: &[],
    memory_gb: 20.0,
    disk: 40e9,
};

/// Two layers a part: weights each way.
pub(super) fn two_layers(workspace: &Workspace, programs: &Programs, table: &mut Table) {
    let Some(bundle) = export(workspace, programs, &TWO_LAYERS, table) else { return };
    let name = TWO_LAYERS.name;
    weights_ways::check(programs, name, &bundle, (engine_options(programs), &[]), table);
    drop(folder::remove(&bundle));
}

/// All layers, with weights as inputs.
pub(super) fn whole(workspace: &Workspace, programs: &Programs, table: &mut Table) {
    let Some(bundle) = export(workspace, programs, &WHOLE, table) else { return };
    let name = WHOLE.name;
    match programs.engines(&bundle, name, engine_options(programs)) {
        Ok(engines) => {
            measure(programs, &Subject { name, engines: &engines, options: &[] }, table);
            drop(folder::remove(&engines));
        }
        Err(error) => table.push(Row::engine(name, Outcome::Failed, &format!("{error:#}"))),
    }
    drop(folder::remove(&bundle));
}

fn engine_options(programs: &Programs) -> &'static [&'static str] {
    if programs.is_stand_in() { &ENGINE_OF_NARROW } else { &ENGINE }
}

/// Makes a checkpoint and exports it, where there is room; the checkpoint is then removed.
fn export(
    workspace: &Workspace,
    programs: &Programs,
    model: &Model,
    table: &mut Table,
) -> Option<PathBuf> {
    println!("== {}", model.name);
    if let Err(why) = there_is_room(programs, model) {
        table.push(Row::engine(model.name, Outcome::Skipped, &why));
        return None;
    }
    let exported = programs.obstacle_ahead(|| sample_answers::build(workspace, programs)).and_then(
        |obstacle| match obstacle {
            Some(why) => Ok(Err(why)),
            None => try_export(workspace, programs, model).map(Ok),
        },
    );
    match exported {
        Ok(Ok(bundle)) => Some(bundle),
        Ok(Err(why)) => {
            table.push(Row::engine(model.name, Outcome::Skipped, &why));
            None
        }
        Err(error) => {
            table.push(Row::engine(model.name, Outcome::Failed, &format!("{error:#}")));
            None
        }
    }
}

fn try_export(workspace: &Workspace, programs: &Programs, model: &Model) -> Result<PathBuf> {
    let checkpoint = programs.work.join(format!("{}-checkpoint", model.bundle));
    folder::remove(&checkpoint)?;
    let narrow: &[&str] = if programs.is_stand_in() { &NARROW } else { &[] };
    let options: Vec<_> = model.shapes.iter().chain(narrow).copied().collect();
    // The stand-in runs constants in functions only.
    let moe = if programs.is_stand_in() { "function" } else { "plugin" };
    let bundle = real_shapes::make(workspace, &checkpoint, &options)
        .and_then(|()| programs.bundle(&checkpoint, model.bundle, moe));
    folder::remove(&checkpoint)?;
    bundle
}

/// Whether a device is there with the memory that a model takes, and the disk has room for it.
///
/// # Errors
/// What is missing.
fn there_is_room(programs: &Programs, model: &Model) -> Result<(), String> {
    let device = programs.device.as_ref().ok_or("no device")?;
    if device.is_stand_in {
        return Ok(());
    }
    let free = free_bytes(&programs.work).map(|bytes| bytes as f64);
    room(device.memory_gb, model.memory_gb, free, model.disk, &programs.work)
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
