//! `cumo-export plan`.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use cumo_bundle::{Bundle, ENGINES_FORMAT, Engines, Error, names};
use cumo_checkpoint::Sources;
use cumo_export::shapes_facts;
use cumo_plan::{CustomDevice, Device, Plan, Request, Subject, device_list, plan, side_by_side};
use cumo_results::BenchResult;

use crate::cli::PlanArguments;

/// Prints what a model needs of a device.
pub(crate) fn run(arguments: &PlanArguments) -> anyhow::Result<()> {
    let text = match (&arguments.device[..], &arguments.input) {
        ([list], _) if list == "list" => {
            let devices = Device::all();
            match arguments.json {
                true => serde_json::to_string_pretty(&devices)? + "\n",
                false => device_list(&devices),
            }
        }
        (_, None) => bail!("name a checkpoint, a bundle or engines"),
        ([_, _, ..], Some(input)) => {
            let plans = several(arguments, input)?;
            match arguments.json {
                true => serde_json::to_string_pretty(&plans)? + "\n",
                false => side_by_side(&plans),
            }
        }
        (_, Some(input)) => {
            let plan = make(arguments, input)?;
            match arguments.json {
                true => serde_json::to_string_pretty(&plan)? + "\n",
                false => plan.to_string(),
            }
        }
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

fn make(arguments: &PlanArguments, input: &Path) -> anyhow::Result<Plan> {
    let subject =
        subject(arguments, input).with_context(|| format!("planning {}", input.display()))?;
    let device = device(arguments)?;
    let plan = plan(&subject, &device, &request(arguments))?;
    let Some(path) = &arguments.result else { return Ok(plan) };
    let result = BenchResult::read(path)?;
    plan.with_result(&subject, &result).with_context(|| path.display().to_string())
}

/// A plan for each device.
fn several(arguments: &PlanArguments, input: &Path) -> anyhow::Result<Vec<Plan>> {
    ensure!(
        arguments.result.is_none(),
        "--result is put beside the bounds of one device: name one"
    );
    let subject =
        subject(arguments, input).with_context(|| format!("planning {}", input.display()))?;
    let of = |id: &String| Ok(plan(&subject, &Device::by_id(id)?, &request(arguments))?);
    arguments.device.iter().map(of).collect()
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

fn device(arguments: &PlanArguments) -> anyhow::Result<Device> {
    let described = (arguments.memory_gb, arguments.bandwidth_gbs, arguments.f16_tflops);
    let (Some(memory_gb), Some(bandwidth_gbs), Some(f16_tflops)) = described else {
        let Some(id) = arguments.device.first() else {
            bail!(
                "name a device with --device (`--device list` shows them), or describe one with --memory-gb, --bandwidth-gbs and --f16-tflops"
            )
        };
        return Ok(Device::by_id(id)?);
    };
    let watts = arguments.watts;
    Ok(Device::custom(CustomDevice { memory_gb, bandwidth_gbs, f16_tflops, watts })?)
}
