//! `cumo-export plan`: its counts against what the exporter makes, and the program from outside.

mod support;

use std::path::{Path, PathBuf};

use cumo_bundle::{Bundle, CacheUpdate, Dim, Dtype, FloatType, Target};
use cumo_checkpoint::{Checkpoint, Sources};
use cumo_export::RouterOutputs;
use cumo_export::layered::{self, LayerOptions, MoeKind, Version};
use cumo_export::part::{Part as ExportedPart, PartName};
use cumo_export::shapes_facts;
use cumo_export::target::{OrtCpu, Portable};
use cumo_onnx::DType;
use cumo_plan::{CustomDevice, Device, Part, Plan, PrecisionPlan, Request, Subject, plan};
use support::{cumo_export, export, golden, stderr};

/// Every checkpoint of the repository: goldens, the sample, and the published models' shapes.
fn checkpoints() -> Vec<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all: Vec<PathBuf> = ["mistral-dense", "mistral-moe", "mixtral-moe"].map(golden).into();
    all.push(here.join("../samples/shapes/checkpoint"));
    all.extend(
        ["cumo-mistral-7b", "cumo-mixtral-8x7b"].map(|name| here.join("tests/data").join(name)),
    );
    all
}

fn sources(folder: &Path) -> Sources {
    Sources { checkpoint: folder.to_owned(), llm: None, clip: None }
}

/// A device with room for everything.
fn device() -> Device {
    let custom = CustomDevice { memory_gb: 1e4, bandwidth_gbs: 1.0, f16_tflops: 1.0, watts: None };
    Device::custom(custom).unwrap()
}

fn plan_of(subject: &Subject, context: u64) -> Plan {
    let request = Request { context: Some(context), prompt_tokens: Some(1), ..Request::default() };
    plan(subject, &device(), &request).unwrap()
}

/// Bytes of a part's weights as a target's graphs have them, and the types the part multiplies in.
fn exported(checkpoint: &Checkpoint, row: &PrecisionPlan, part: Part) -> (u64, Dtype) {
    let name = PartName::ALL[Part::ALL.iter().position(|known| *known == part).unwrap()];
    let dtype = match row.precision.dtype {
        FloatType::F32 => DType::F32,
        FloatType::F16 => DType::F16,
    };
    let version = match row.precision.target {
        Target::Tensorrt => Version::Current,
        Target::Tensorrt103 => Version::V10_3,
        target => {
            let spelling: &dyn cumo_export::target::Target =
                if target == Target::OrtCpu { &OrtCpu } else { &Portable };
            let part =
                ExportedPart::build(name, checkpoint, spelling, dtype, RouterOutputs::default())
                    .unwrap();
            let bytes = part.graph.layout().ranges().map(|(_, length)| length).sum();
            return (bytes, part.precision.activations);
        }
    };
    let options =
        LayerOptions { version, moe: MoeKind::Plugin, router_outputs: RouterOutputs::default() };
    let assembly = layered::assemble(checkpoint, options).unwrap();
    let weights = assembly.weights.iter().find(|(of, _)| *of == name).map(|(_, weights)| weights);
    let bytes = weights.into_iter().flatten().map(|named| {
        let weight = &named.weight;
        (weight.shape().iter().product::<usize>() * weight.dtype.size()) as u64
    });
    (bytes.sum(), layered::Assembly::precision().activations)
}

#[test]
fn weights_are_counted_as_they_are_exported_to_the_byte() {
    for folder in checkpoints() {
        let checkpoint = Checkpoint::shapes(&sources(&folder)).unwrap();
        let facts = shapes_facts(&sources(&folder)).unwrap();
        let plan = plan_of(&Subject::of_model(&facts).unwrap(), 64);
        let routes = [facts.vision.moe, facts.vision.connector_moe, facts.llm.moe, facts.llm.moe];
        for row in &plan.precisions {
            for (index, part) in row.weights.iter().enumerate() {
                let (bytes, multiplies) = exported(&checkpoint, row, part.part);
                let what = format!("{}, {}, {:?}", folder.display(), row.precision, part.part);
                assert_eq!(part.bytes, bytes, "{what}");
                let routes = routes[index].is_some() && !row.precision.is_for_engines();
                let stored = row.precision.dtype.stored();
                assert_eq!(multiplies, if routes { Dtype::F32 } else { stored }, "{what}");
            }
        }
        let parameters = plan.model.parameters.iter().map(|part| part.parameters).sum::<u64>();
        let elements = |shape: &[usize]| shape.iter().map(|size| *size as u64).product::<u64>();
        let elements: u64 = checkpoint.tensors().map(|tensor| elements(tensor.shape())).sum();
        assert_eq!(parameters, elements, "{}", folder.display());
    }
}

#[test]
fn every_precision_that_can_be_exported_has_a_row_and_others_cannot() {
    let facts = shapes_facts(&sources(&golden("mistral-moe"))).unwrap();
    let plan = plan_of(&Subject::of_model(&facts).unwrap(), 64);
    let folder = tempfile::tempdir().unwrap();
    for target in Target::ALL {
        for dtype in FloatType::ALL {
            let output = folder.path().join(format!("{target}-{}", dtype.name()));
            let flags = ["--target", target.name(), "--dtype", dtype.name()];
            let exported = export(&golden("mistral-moe"), &output, &flags).status.success();
            let row = plan
                .precisions
                .iter()
                .find(|row| row.precision.target == target && row.precision.dtype == dtype);
            assert_eq!(exported, row.is_some(), "{target} {}", dtype.name());
            let Some(row) = row else { continue };
            bundles_weights_and_cache(&output, row);
        }
    }
}

/// A bundle's own files and cache against what was counted for its precision.
fn bundles_weights_and_cache(bundle: &Path, counted: &PrecisionPlan) {
    let manifest = Bundle::read_manifest(bundle).unwrap();
    let plan = plan_of(&Subject::of_bundle(&manifest).unwrap(), 64);
    let made: Vec<_> = plan.precisions.iter().filter(|row| row.made).collect();
    let [own] = made.as_slice() else { panic!("one row is the bundle's own") };
    assert_eq!(own.precision, counted.precision);
    for (own, counted) in own.weights.iter().zip(&counted.weights) {
        // A file has gaps before what begins at a multiple of 4 KiB; tensors bound one by one none.
        let gaps = if manifest.weights.is_empty() { 4096 * 400 } else { 0 };
        let range = counted.bytes..=counted.bytes + gaps;
        assert!(range.contains(&own.bytes), "{:?}: {} in {range:?}", own.part, own.bytes);
    }
    let slot_bytes = |slot: &cumo_bundle::CacheSlot| {
        let copies = if slot.update == CacheUpdate::Append { 2 } else { 1 };
        let fixed = slot.shape.iter().map(|dim| match dim {
            Dim::Fixed(size) => *size,
            Dim::Symbol(_) => 1,
        });
        fixed.product::<usize>() * slot.dtype.size() * copies
    };
    let position: usize = manifest.plan.cache.iter().map(slot_bytes).sum();
    assert_eq!(counted.cache_bytes, 64 * position as u64);
}

#[test]
fn a_configuration_alone_is_planned() {
    let folder = checkpoints().pop().unwrap();
    let output = cumo_export().arg("plan").arg(folder).args(["--device", "thor-t5000"]).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("model    cumo-mixtral-8x7b: 47.67 G parameters"), "{text}");
    assert!(text.contains("best: tensorrt f16, a context of 4096 (up to 32768 fits)"), "{text}");
}

#[test]
fn the_documentation_shows_what_the_program_prints() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(here.join("../docs/plan.md")).unwrap();
    let print = |model: &str, device: &str, mode: &str, json: &[&str]| {
        let mut command = cumo_export();
        command.arg("plan").arg(here.join("tests/data").join(model));
        command.args(["--device", device, "--mode", mode]).args(json);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let examples =
        [("cumo-mistral-7b", "agx-orin-64gb", "MAXN"), ("cumo-mixtral-8x7b", "thor-t5000", "120W")];
    for (model, device, mode) in examples {
        let example = print(model, device, mode, &[]);
        assert!(example.len() > 1000 && page.contains(&example), "{example}");
    }
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")).filter(|row| {
        Device::all().iter().any(|device| row.starts_with(&format!("{}`", device.id)))
    });
    let mut checked = 0;
    for row in rows {
        let cells: Vec<&str> = row.split(" | ").collect();
        let [device, mode, room, seven, mixtral] = cells.try_into().unwrap();
        for (model, cell) in [("cumo-mistral-7b", seven), ("cumo-mixtral-8x7b", mixtral)] {
            let text = print(model, device.trim_end_matches('`'), mode, &["--json"]);
            let plan: serde_json::Value = serde_json::from_str(&text).unwrap();
            let gib = |value: &serde_json::Value| value.as_f64().unwrap() / f64::from(1 << 30);
            assert_eq!(room, format!("{:.1} GiB", gib(&plan["available_bytes"])), "{row}");
            let own = &plan["precisions"][0];
            let first = &own["bounds"]["first_token_milliseconds"];
            let rate = &own["bounds"]["decode"][0]["tokens_per_second"];
            let printed = match own["fits"].as_bool() {
                Some(true) => format!(
                    "first token {:.0} ms, {:.1} tok/s",
                    first.as_f64().unwrap(),
                    rate.as_f64().unwrap()
                ),
                _ => format!("{:.1} GiB too much", gib(&own["missing_bytes"])),
            };
            assert_eq!(cell.trim_end_matches(" |"), printed, "{row}");
            checked += 1;
        }
    }
    assert!(checked >= 20, "{checked} cells");
}

#[test]
fn json_is_one_object_with_its_format() {
    let arguments = ["plan", "--device", "rtx-4090", "--prompt-tokens", "8", "--json"];
    let output = cumo_export().args(arguments).arg(golden("mixtral-moe")).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["format"], &json["format_version"]), (&"cumo-plan".into(), &1.into()));
    assert_eq!(json["best"]["target"], "tensorrt");
}

#[test]
fn devices_are_listed_without_a_model() {
    let output = cumo_export().args(["plan", "--device", "list"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for device in Device::all() {
        assert!(text.contains(&device.id), "{} not in {text}", device.id);
    }
}

#[test]
fn what_cannot_be_planned_says_why() {
    let model = golden("mistral-moe").display().to_string();
    let cases = [
        (vec!["plan", &model], 1, "name a device with --device"),
        (vec!["plan", &model, "--device", "rtx-9090"], 1, "did you mean"),
        (vec!["plan", &model, "--device", "l4,"], 1, "a name is missing beside a comma"),
        (vec!["plan", &model, "--device", "l4", "--mode", "5W"], 1, "it has 72W"),
        (vec!["plan", &model, "--device", "l4", "--context", "4000000"], 1, "the model has"),
        (vec!["plan", &model, "--device", "l4", "--images", "9999"], 1, "9999 images"),
        (vec!["plan", &model, "--memory-gb", "8"], 2, "--bandwidth-gbs"),
        (vec!["plan", &model, "--device", "l4", "--reserve-gb", "lots"], 2, "--reserve-gb"),
        (vec!["plan", "--device", "l4"], 1, "name a checkpoint, a bundle or engines"),
        (vec!["plan", "/nowhere", "--device", "l4"], 1, "/nowhere"),
        (vec!["plan", &model, "--device", "l4", "--result", "/nowhere.json"], 1, "/nowhere.json"),
    ];
    for (arguments, code, part) in cases {
        let output = cumo_export().args(&arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(part), "{part} not in {}", stderr(&output));
    }
}
