//! `cumo plan` from outside: bundles, engines, results, and what is wrong with a question.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cumo_bundle::{
    Bundle, Dim, ENGINES_FORMAT, ENGINES_FORMAT_VERSION, EngineContents, EngineEntry,
    EngineFigures, EngineLimits, EngineOptions, EnginesManifest, FileEntry, Manifest, Pass, Phase,
    ShapeRange, Target, TensorrtFacts, TensorrtFlavour, WeightsFiles, names,
};
use cumo_checkpoint::Sources;
use cumo_export::{FloatType, OnnxOptions, Quiet, RouterOutputs, export_onnx};
use cumo_results::BenchResult;
use cumo_results::schema::{Generation, Memory, Model, ModelPart};
use serde_json::Value;

/// The golden `mixtral-moe` as a bundle.
fn export(folder: &Path, target: Target) -> PathBuf {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/goldens/mixtral-moe");
    let output = folder.join(target.name());
    let options = OnnxOptions {
        sources: Sources { checkpoint: golden.join("checkpoint"), llm: None, clip: None },
        output: output.clone(),
        target,
        dtype: FloatType::F16,
        template: None,
        moe: None,
        name: Some("tiny-mixtral".to_owned()),
        router_outputs: RouterOutputs::default(),
        force: false,
    };
    export_onnx(&options, &Quiet).unwrap();
    output
}

fn cumo(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cumo")).arg("plan").args(arguments).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The JSON of a plan that is made.
fn json(arguments: &[&str]) -> Value {
    let output = cumo(&[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The rows of the bundle's own precision.
fn own(plan: &Value) -> Vec<Value> {
    let rows = plan["precisions"].as_array().unwrap();
    rows.iter().filter(|row| row["made"] == true).cloned().collect()
}

#[test]
fn the_weights_of_a_bundle_are_those_of_its_files() {
    let folder = tempfile::tempdir().unwrap();
    for target in [Target::OrtCpu, Target::Tensorrt] {
        let bundle = export(folder.path(), target);
        let path = bundle.to_str().unwrap();
        let plan = json(&["--model", path, "--device", "agx-orin-64gb", "--prompt-tokens", "4"]);
        let [row] = own(&plan).try_into().unwrap();
        assert_eq!((&row["target"], &row["dtype"]), (&target.name().into(), &"f16".into()));
        let manifest = Bundle::read_manifest(&bundle).unwrap();
        let bytes: u64 = match target {
            Target::Tensorrt => manifest.weights.values().filter_map(|it| it.bytes()).sum(),
            _ => {
                let data = |(name, _): &(&String, &FileEntry)| name.ends_with(".onnx.data");
                manifest.files.iter().filter(data).map(|(_, entry)| entry.bytes).sum()
            }
        };
        assert_eq!(row["weights_bytes"], bytes);
    }
}

/// The positions of a prompt that the engines take.
const MAX_PROMPT: usize = 16;

/// Shapes of the inputs that are not fixed, for one image and one sequence.
fn profile(
    inputs: &[cumo_bundle::Value],
    pass: Pass,
    (rung, limits, crops): (Option<usize>, &EngineLimits, usize),
) -> BTreeMap<String, ShapeRange> {
    let size = |dim: &Dim, prompt: usize| match dim {
        Dim::Fixed(size) => *size,
        Dim::Symbol(name) if name == names::ATTENDED => rung.unwrap_or(limits.max_context),
        Dim::Symbol(name) if name == names::CROPS => crops,
        Dim::Symbol(name) if name == names::SEQUENCE && pass == Pass::Prefill => prompt,
        Dim::Symbol(_) => 1,
    };
    let is_open =
        |input: &&cumo_bundle::Value| input.shape.iter().any(|dim| matches!(dim, Dim::Symbol(_)));
    let range = |input: &cumo_bundle::Value| {
        let shape = |prompt| input.shape.iter().map(|dim| size(dim, prompt)).collect::<Vec<_>>();
        let (min, max) = (shape(1), shape(limits.max_prompt_at(rung)));
        (input.name.clone(), ShapeRange { min, opt: max.clone(), max })
    };
    inputs.iter().filter(is_open).map(range).collect()
}

/// Engines of a bundle that were built of shapes alone.
fn engines(folder: &Path, bundle: Manifest, max_context: usize) -> PathBuf {
    let attended: Vec<usize> =
        bundle.plan.attended.iter().copied().filter(|rung| *rung < max_context).collect();
    let attended = [attended, vec![max_context]].concat();
    let limits =
        EngineLimits { max_images: 1, batch: 1, max_prompt: MAX_PROMPT, max_context, attended };
    let crops = bundle.model.vision.scales.iter().map(|scale| scale * scale).sum();
    let mut engines = BTreeMap::new();
    for phase in Phase::ALL {
        for step in bundle.plan.steps(phase) {
            let inputs = &bundle.graphs[&step.graph].inputs;
            for pass in Pass::of(phase) {
                for rung in limits.rungs(&bundle, &step.graph, *pass) {
                    let file = format!("{}.{}.{rung:?}.engine", step.graph, pass.name());
                    let entry = EngineEntry {
                        file: file.clone(),
                        graph: step.graph.clone(),
                        pass: *pass,
                        attended: rung,
                        profile: profile(inputs, *pass, (rung, &limits, crops)),
                        key: "0".repeat(64),
                        contents: EngineContents::default(),
                        figures: EngineFigures::default(),
                    };
                    engines.insert(file, entry);
                }
            }
        }
    }
    let entry = FileEntry { bytes: 0, sha256: "0".repeat(64) };
    let manifest = EnginesManifest {
        format: ENGINES_FORMAT.to_owned(),
        format_version: ENGINES_FORMAT_VERSION,
        producer: "test".to_owned(),
        tensorrt: TensorrtFacts {
            flavour: TensorrtFlavour::Rtx,
            version: "1.7.1.116".to_owned(),
            compute_capabilities: vec![89],
        },
        plugin: None,
        limits,
        options: EngineOptions { workspace_bytes: None, constant_weights: false },
        weights_files: WeightsFiles::Absent,
        files: engines.keys().map(|file: &String| (file.clone(), entry.clone())).collect(),
        engines: engines.into_values().collect(),
        bundle,
    };
    let path = folder.join("engines");
    fs::create_dir(&path).unwrap();
    fs::write(path.join(names::MANIFEST_FILE), serde_json::to_vec(&manifest).unwrap()).unwrap();
    path
}

#[test]
fn engines_give_the_context_and_say_what_they_do_not_take() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = export(folder.path(), Target::Tensorrt);
    let manifest = Bundle::read_manifest(&bundle).unwrap();
    let longest = manifest.model.llm.context_length.to_string();
    let engines = engines(folder.path(), manifest, 64);
    let question = ["--model", engines.to_str().unwrap(), "--device", "l4", "--prompt-tokens", "4"];
    let plan = json(&question);
    assert_eq!(plan["request"]["context"], 64);
    assert_eq!(own(&plan)[0]["target"], "tensorrt");
    let plan = json(&[&question[..], &["--context", &longest, "--images", "2"]].concat());
    let advice = plan["advice"].to_string();
    assert!(advice.contains("the engines take a context of 64"), "{advice}");
    assert!(advice.contains("the engines take 1 image in one call"), "{advice}");
}

#[test]
fn a_result_stands_beside_its_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = export(folder.path(), Target::OrtCpu);
    let part = ModelPart { weights: "f16".to_owned(), ..ModelPart::default() };
    let manifest = Bundle::read_manifest(&bundle).unwrap();
    let data = |(name, _): &(&String, &FileEntry)| name.ends_with(".onnx.data");
    let weights = manifest.files.iter().filter(data).map(|(_, entry)| entry.bytes).sum();
    let mut result = BenchResult {
        model: Model {
            name: "tiny-mixtral".to_owned(),
            target: "ort-cpu".to_owned(),
            parts: [("llm".to_owned(), part)].into(),
            ..Model::default()
        },
        generation: vec![Generation {
            tokens: 2,
            depth_tokens: 8,
            repetitions_inter_token_ns: vec![vec![1_000_000, 3_000_000]],
        }],
        memory: Memory {
            weights_bytes: Some(weights),
            cache_bytes: Some(1 << 20),
            peak_process_bytes: Some(1 << 30),
            ..Memory::default()
        },
        ..BenchResult::default()
    };
    result.environment.time = "2026-11-24T21:03:07Z".to_owned();
    let file = folder.path().join("r.json");
    result.write(&file).unwrap();
    let (bundle, file) = (bundle.to_str().unwrap(), file.to_str().unwrap());
    let described = ["--memory-gb", "8", "--bandwidth-gbs", "10", "--f16-tflops", "1"];
    let question = [&["--model", bundle, "--result", file, "--prompt-tokens", "4"], &described[..]];
    let plan = json(&question.concat());
    let stage = &plan["measured"]["stages"][0];
    assert_eq!((&stage["stage"], &stage["milliseconds"]), (&"tg 2 behind 8".into(), &2.0.into()));
    let share = stage["share"].as_f64().unwrap();
    let bound = stage["bound_milliseconds"].as_f64().unwrap();
    assert!(share > 0.0 && (share * 2.0 - bound).abs() < 1e-12, "{stage}");
    let memory = &plan["measured"]["memory"];
    assert_eq!((&memory[0]["memory"], &memory[0]["over_plan"]), (&"weights".into(), &1.0.into()));
    assert_eq!(memory[1]["memory"], "cache, 10 positions");
    assert_eq!(memory[2]["measured_bytes"], 1 << 30);
    let output = cumo(&question.concat());
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("tg 2 behind 8") && text.contains("peak of the process"), "{text}");

    result.model.name = "another".to_owned();
    result.write(Path::new(file)).unwrap();
    let output = cumo(&question.concat());
    assert!(stderr(&output).contains("the result is of `another`"), "{}", stderr(&output));
    fs::write(file, "{").unwrap();
    let output = cumo(&question.concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("r.json"), "{}", stderr(&output));
}

#[test]
fn several_devices_stand_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = export(folder.path(), Target::Tensorrt);
    let model = ["--model", bundle.to_str().unwrap(), "--prompt-tokens", "4"];
    let devices = ["--device", "l4,agx-orin-64gb", "--device", "rtx-4090"];
    let output = cumo(&[&model[..], &devices].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    for device in ["l4 ", "agx-orin-64gb ", "rtx-4090 "] {
        assert_eq!(text.lines().filter(|line| line.starts_with(device)).count(), 1, "{text}");
    }
    let plans = json(&[&model[..], &devices].concat());
    let names: Vec<&Value> = (0..3).map(|index| &plans[index]["device"]["id"]).collect();
    assert_eq!(names, ["l4", "agx-orin-64gb", "rtx-4090"]);
    // A device alone is the object that it was.
    let one = json(&[&model[..], &["--device", "l4"]].concat());
    assert_eq!(one, plans[0]);
    for (arguments, part) in [
        (&["--device", "l4,orin-nx"][..], "did you mean orin-nx-16gb"),
        (&["--device", "l4,rtx-4090", "--mode", "72W"], "has no mode `72W`"),
        (&["--device", "l4,rtx-4090", "--result", "r.json"], "--result is put beside"),
    ] {
        let output = cumo(&[&model[..], arguments].concat());
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(stderr(&output).contains(part), "{part} not in {}", stderr(&output));
    }
}

#[test]
fn devices_are_listed_without_a_model() {
    let output = cumo(&["--device", "list"]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("orin-nano-8gb-super") && text.contains("MAXN_SUPER"), "{text}");
    assert!(json(&["--device", "list"]).as_array().unwrap().len() > 10);
}

#[test]
fn what_cannot_be_planned_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = export(folder.path(), Target::Tensorrt);
    let model = bundle.to_str().unwrap();
    let cases = [
        (vec!["--model", model, "--device", "orin-nx"], 1, "did you mean orin-nx-16gb"),
        (vec!["--model", model, "--device", "l4", "--mode", "5W"], 1, "it has 72W"),
        (vec!["--model", model, "--device", "l4", "--context", "4000000"], 1, "the model has 1 to"),
        (vec!["--model", model, "--device", "l4", "--images", "-1"], 2, "--images"),
        (vec!["--model", model, "--device", "l4", "--images", "999999"], 1, "999999 images"),
        (vec!["--model", model, "--device", "l4", "--reserve-gb", "900"], 1, "--reserve-gb"),
        (vec!["--model", model, "--f16-tflops", "3"], 2, "--memory-gb"),
        (
            vec!["--model", model, "--memory-gb=0", "--bandwidth-gbs=1", "--f16-tflops=1"],
            1,
            "--memory-gb 0",
        ),
        (
            vec![
                "--model",
                model,
                "--memory-gb=8",
                "--bandwidth-gbs=1",
                "--f16-tflops=1",
                "--watts",
                "1e308",
            ],
            1,
            "--watts 1e308: it must be 0.000001 to 1,000,000,000",
        ),
        (vec!["--device", "l4"], 1, "--model"),
        (vec!["--model", model, "--device", "l4", "--result", "/dev/zero"], 1, "not a file"),
        (vec![], 2, "--model"),
        (vec!["--model", "/nowhere", "--device", "l4"], 1, "/nowhere: no such folder"),
    ];
    for (arguments, code, part) in cases {
        let output = cumo(&arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(part), "{part} not in {}", stderr(&output));
    }
    // A bundle whose manifest claims sizes of no model.
    let file = bundle.join(names::MANIFEST_FILE);
    let text = fs::read_to_string(&file).unwrap();
    let mut manifest: Value = serde_json::from_str(&text).unwrap();
    manifest["model"]["layers"]["llm_intermediate_size"] = u64::MAX.into();
    fs::write(&file, manifest.to_string()).unwrap();
    let output = cumo(&["--model", model, "--device", "l4"]);
    assert!(stderr(&output).contains("llm intermediate_size is 18446744073709551615"));
    manifest["model"]["layers"] = Value::Null;
    fs::write(&file, manifest.to_string()).unwrap();
    let output = cumo(&["--model", model, "--device", "l4"]);
    assert!(stderr(&output).contains("export it again"), "{}", stderr(&output));
}
