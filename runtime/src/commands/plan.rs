//! `cumo plan`: what a model needs of a device.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use cumo_bundle::{Bundle, ENGINES_FORMAT, Engines, Error};
use cumo_plan::{Device, Plan, Subject, device_list, plan, side_by_side};
use cumo_results::BenchResult;
use cumo_runtime::machine::Machine;

use super::console;
use crate::cli::PlanArgs;

pub(crate) fn run(args: &PlanArgs) -> Result<ExitCode> {
    if args.device == ["list"] {
        let devices = Device::all();
        match args.json {
            true => console::print_json(&devices)?,
            false => console::print_line(device_list(&devices).trim_end())?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    let Some(model) = &args.model else { bail!("name the bundle or the engines with --model") };
    let devices = Device::by_ids(&args.device)?;
    let subject = subject(model)?;
    let print = |text: &str| console::print_line(console::presentable(text).trim_end());
    match (devices.len() > 1, args.json) {
        (true, true) => console::print_json(&several(args, &devices, &subject)?)?,
        (true, false) => print(&side_by_side(&several(args, &devices, &subject)?))?,
        (false, true) => console::print_json(&one(args, devices, &subject)?)?,
        (false, false) => print(&one(args, devices, &subject)?.to_string())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A plan for each device.
fn several(args: &PlanArgs, devices: &[Device], subject: &Subject) -> Result<Vec<Plan>> {
    ensure!(args.result.is_none(), "--result is put beside the bounds of one device: name one");
    let of = |device: &Device| {
        let request = args.question.request(args.mode.clone());
        Ok(plan(subject, device, &request)?)
    };
    devices.iter().map(of).collect()
}

/// A plan for the device that was named, described, or is this machine.
fn one(args: &PlanArgs, named: Vec<Device>, subject: &Subject) -> Result<Plan> {
    let (device, mode) = device(args, named)?;
    let plan = plan(subject, &device, &args.question.request(mode))?;
    let Some(path) = &args.result else { return Ok(plan) };
    let result = BenchResult::read(path)?;
    plan.with_result(subject, &result).with_context(|| path.display().to_string())
}

/// The model of a bundle or of engines; of these the manifest alone is read.
fn subject(path: &Path) -> Result<Subject> {
    let subject = match Bundle::read_manifest(path) {
        Err(Error::Version { format, .. }) if format == ENGINES_FORMAT => {
            Subject::of_engines(&Engines::read_manifest(path)?)
        }
        Err(error @ Error::NoManifest(_)) if path.join("config.json").is_file() => bail!(
            "{error}, or plan from the checkpoint with `cumo-export plan {} --device DEVICE`",
            path.display()
        ),
        manifest => Subject::of_bundle(&manifest?),
    };
    subject.with_context(|| path.display().to_string())
}

/// The device and the mode that were asked for, or this machine and the mode that it is in.
fn device(args: &PlanArgs, named: Vec<Device>) -> Result<(Device, Option<String>)> {
    let mode = args.mode.clone();
    if let Some(custom) = args.custom.device() {
        return Ok((Device::custom(custom)?, mode));
    }
    if let Some(device) = named.into_iter().next() {
        return Ok((device, mode));
    }
    let machine = Machine::this();
    let Some(device) = this_device(&machine) else {
        bail!(
            "this machine is no device of the table; name one with --device (`--device list` shows \
             them), or describe one with --memory-gb, --bandwidth-gbs and --f16-tflops"
        )
    };
    let modes = machine.power_mode();
    let current = modes.and_then(|modes| modes.name);
    let current = current.filter(|mode| device.mode(Some(mode)).is_ok());
    Ok((device, mode.or(current)))
}

/// The device of the table that a machine is or has.
fn this_device(machine: &Machine) -> Option<Device> {
    if let Some(jetson) = machine.jetson() {
        let memory = machine.memory().map(|memory| memory.total_bytes);
        let device = Device::by_system_name(&jetson.board, memory)?;
        let modes = machine.power_mode().map(|mode| mode.modes).unwrap_or_default();
        return Some(match modes.iter().any(|mode| mode.name == "MAXN_SUPER") {
            true => device.in_super_mode(),
            false => device,
        });
    }
    let cards = machine.nvidia().cards;
    cards.iter().find_map(|card| Device::by_system_name(card, None))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The device that a machine with these files is.
    fn found(files: &[(&str, &str)]) -> Option<String> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        this_device(&Machine::below(root.path())).map(|device| device.id)
    }

    #[test]
    fn a_board_is_known_by_its_tree_its_memory_and_its_modes() {
        let tree = ("proc/device-tree/compatible", "nvidia,p3768-0000\0nvidia,tegra234\0");
        let model = (
            "proc/device-tree/model",
            "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit\0",
        );
        let memory = ("proc/meminfo", "MemTotal: 7802880 kB\nMemAvailable: 6500000 kB\n");
        let less = ("proc/meminfo", "MemTotal: 3700000 kB\nMemAvailable: 3000000 kB\n");
        assert_eq!(found(&[tree, model, memory]).as_deref(), Some("orin-nano-8gb"));
        assert_eq!(found(&[tree, model, less]), None);
        let modes = (
            "etc/nvpmodel.conf",
            "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n",
        );
        let name = found(&[tree, model, memory, modes]);
        assert_eq!(name.as_deref(), Some("orin-nano-8gb-super"));
    }

    #[test]
    fn a_card_is_known_by_its_drivers_name_for_it() {
        let card = |name| ("proc/driver/nvidia/gpus/0000:01:00.0/information", name);
        let name = found(&[card("Model: \t\t NVIDIA GeForce RTX 4090\nIRQ: 16\n")]);
        assert_eq!(name.as_deref(), Some("rtx-4090"));
        assert_eq!(found(&[card("Model: NVIDIA GeForce RTX 4090 Laptop GPU\n")]), None);
        assert_eq!(found(&[]), None);
    }
}
