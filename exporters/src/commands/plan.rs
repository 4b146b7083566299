//! `cumo-export plan`.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use cumo_bundle::{Bundle, ENGINES_FORMAT, Engines, Error, names};
use cumo_checkpoint::Sources;
use cumo_export::shapes_facts;
use cumo_plan::{CustomDevice, Device, Plan, Request, Subject, device_list, plan, side_by_side};
use cumo_results::BenchResult;
use serde::Serialize;

use crate::cli::PlanArguments;

/// Prints what a model needs of a device, or of several.
pub(crate) fn run(arguments: &PlanArguments) -> anyhow::Result<()> {
    let text = match arguments.device == ["list"] {
        true => text(arguments.json, &Device::all(), |devices| device_list(devices))?,
        false => plans(arguments)?,
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

fn plans(arguments: &PlanArguments) -> anyhow::Result<String> {
    let Some(input) = &arguments.input else { bail!("name a checkpoint, a bundle or engines") };
    let subject =
        subject(arguments, input).with_context(|| format!("planning {}", input.display()))?;
    let devices = devices(arguments)?;
    let request = request(arguments);
    let of = |device: &Device| Ok(plan(&subject, device, &request)?);
    if let [device] = &devices[..] {
        let mut plan: Plan = of(device)?;
        if let Some(path) = &arguments.result {
            let result = BenchResult::read(path)?;
            plan =
                plan.with_result(&subject, &result).with_context(|| path.display().to_string())?;
        }
        return text(arguments.json, &plan, Plan::to_string);
    }
    ensure!(
        arguments.result.is_none(),
        "--result is put beside the bounds of one device: name one"
    );
    let plans = devices.iter().map(of).collect::<anyhow::Result<Vec<Plan>>>()?;
    text(arguments.json, &plans, |plans| side_by_side(plans))
}

/// As JSON, or for people.
fn text<T: Serialize>(
    json: bool,
    value: &T,
    for_people: impl FnOnce(&T) -> String,
) -> anyhow::Result<String> {
    Ok(match json {
        true => serde_json::to_string_pretty(value)? + "\n",
        false => for_people(value),
    })
}

fn request(arguments: &PlanArguments) -> Request {
    Request {
        context: arguments.context,
        images: arguments.images,
        prompt_tokens: arguments.prompt_tokens,
        mode: arguments.mode.clone(),
        system_bytes: arguments.reserve_gb,
    }
}

/// A folder with a manifest is a bundle or engines; of any other one `config.json` is read.
fn subject(arguments: &PlanArguments, input: &Path) -> anyhow::Result<Subject> {
    if !input.join(names::MANIFEST_FILE).is_file() {
        let sources =
            Sources { checkpoint: input.to_owned(), llm: None, clip: arguments.clip.clone() };
        return Ok(Subject::of_model(&shapes_facts(&sources)?)?);
    }
    Ok(match Bundle::read_manifest(input) {
        Err(Error::Version { format, .. }) if format == ENGINES_FORMAT => {
            Subject::of_engines(&Engines::read_manifest(input)?)?
        }
        manifest => Subject::of_bundle(&manifest?)?,
    })
}

/// The devices that were named, or the one that was described.
fn devices(arguments: &PlanArguments) -> anyhow::Result<Vec<Device>> {
    let described = (arguments.memory_gb, arguments.bandwidth_gbs, arguments.f16_tflops);
    if let (Some(memory_gb), Some(bandwidth_gbs), Some(f16_tflops)) = described {
        let watts = arguments.watts;
        let custom = CustomDevice { memory_gb, bandwidth_gbs, f16_tflops, watts };
        return Ok(vec![Device::custom(custom)?]);
    }
    ensure!(
        !arguments.device.is_empty(),
        "name a device with --device (`--device list` shows them), or describe one with --memory-gb, --bandwidth-gbs and --f16-tflops"
    );
    Ok(Device::by_ids(&arguments.device)?)
}
