//! The program on a folder of engines: the sample's, on the stand-in for TensorRT's shim.
#![cfg(unix)]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use cumo_bundle::{Target, hash_reader};
use cumo_checkpoint::Sources;
use cumo_export::engine::{EngineInput, EngineOptions, Silent, Sizes, WeightsPlace, build_engines};
use cumo_export::{FloatType, MoeKind, OnnxOptions, Quiet, RouterOutputs, export_onnx};
use cumo_results::BenchResult;
use cumo_standin::{Settings, StandIn};
use cumo_tensorrt::{Flavour, LibraryPlaces};
use support::{image, sample, text};

/// The sample's engines, and the stand-in that runs them.
struct Engines {
    folder: tempfile::TempDir,
    stand_in: StandIn,
}

impl Engines {
    fn new() -> Engines {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let bundle = OnnxOptions {
            sources: Sources { checkpoint: sample().join("checkpoint"), llm: None, clip: None },
            output: at("bundle"),
            target: Target::Tensorrt,
            dtype: FloatType::F16,
            template: None,
            moe: Some(MoeKind::Function),
            name: None,
            router_outputs: RouterOutputs::default(),
            force: false,
        };
        export_onnx(&bundle, &Quiet).unwrap();
        fs::create_dir(at("stand-in")).unwrap();
        let stand_in = StandIn::create(&at("stand-in"), &Settings::default()).unwrap();
        let place = Some(stand_in.folder().to_owned());
        let options = EngineOptions {
            input: EngineInput::Bundle(at("bundle")),
            output: at("engines"),
            target: Target::Tensorrt,
            flavour: Some(Flavour::Rtx),
            libraries: LibraryPlaces { shim: place.clone(), tensorrt: place },
            sizes: Sizes {
                max_images: Some(1),
                batch: Some(1),
                max_prompt: Some(32),
                max_context: Some(512),
            },
            workspace_bytes: None,
            timing_cache: None,
            devices: Vec::new(),
            constant_weights: false,
            constant_layers: None,
            moe: None,
            plugin: None,
            weights_place: WeightsPlace::Copy,
            cache: None,
            force: false,
        };
        build_engines(&options, &Silent).unwrap();
        Engines { folder, stand_in }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program with a model, its streams as pipes.
    fn cumo(&self, command: &str, model: &str) -> Command {
        let mut cumo = Command::new(env!("CARGO_BIN_EXE_cumo"));
        cumo.arg(command).arg("--model").arg(self.at(model)).envs(self.stand_in.variables());
        cumo.env("CUMO_CACHE_DIR", self.at("cache"));
        cumo.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        cumo
    }

    fn nothing_is_wrong(&self) {
        let violations = self.stand_in.violations();
        assert!(violations.is_empty(), "{}", violations.join("\n"));
    }
}

fn succeeded(output: Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn questions_are_answered_from_engines_as_from_their_bundle() {
    let engines = Engines::new();
    let ask = |model: &str| {
        let mut run = engines.cumo("run", model);
        run.args(["--image", &image(0), "--prompt", "How many shapes are there?"]);
        run.args(["--temperature", "0", "--json"]);
        let json = succeeded(run.output().unwrap());
        let answer: serde_json::Value = serde_json::from_str(&json).unwrap();
        (answer["text"].clone(), answer["tokens"].clone())
    };
    let (answer, tokens) = ask("engines");
    assert_eq!(answer, "1");
    assert_eq!((answer, tokens), ask("bundle"));

    let ids = |model: &str| {
        let mut tokenize = engines.cumo("tokenize", model).spawn().unwrap();
        tokenize.stdin.take().unwrap().write_all(b"What is <image>?").unwrap();
        succeeded(tokenize.wait_with_output().unwrap())
    };
    assert_eq!(ids("engines"), ids("bundle"));

    let mut chat = engines.cumo("chat", "engines");
    let mut chat = chat.args(["--temperature", "0", "--image", &image(0)]).spawn().unwrap();
    let script = format!(
        "How many shapes are there?\n/reset\n/image {}\nHow many shapes are there?\n",
        image(1)
    );
    chat.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let answers = succeeded(chat.wait_with_output().unwrap());
    assert_eq!(answers.lines().collect::<Vec<_>>(), ["1", "4"]);

    let questions = fs::read_to_string(sample().join("questions.jsonl")).unwrap();
    let few: Vec<&str> = questions.lines().take(6).collect();
    fs::write(engines.at("few.jsonl"), few.join("\n")).unwrap();
    let mut eval = engines.cumo("eval", "engines");
    eval.arg("--question-file").arg(engines.at("few.jsonl"));
    eval.arg("--image-folder").arg(sample().join("images"));
    eval.arg("--answers-file").arg(engines.at("answers.jsonl")).arg("--json");
    let counts = succeeded(eval.output().unwrap());
    let counts: serde_json::Value = serde_json::from_str(&counts).unwrap();
    assert_eq!(fs::read_to_string(engines.at("answers.jsonl")).unwrap().lines().count(), 6);
    assert!(counts.to_string().contains('6'), "{counts}");
    engines.nothing_is_wrong();
}

#[test]
fn a_conversation_on_engines_outlives_what_it_cannot_take() {
    let engines = Engines::new();
    for (name, bytes) in [("empty.png", &b""[..]), ("text.png", b"no image")] {
        fs::write(engines.at(name), bytes).unwrap();
    }
    let whole = fs::read(image(0)).unwrap();
    fs::write(engines.at("cut.png"), &whole[..whole.len() / 2]).unwrap();
    let mut script = String::new();
    for name in ["empty.png", "text.png", "cut.png", "absent.png", "bundle"] {
        script += &format!("/image {}\n", engines.at(name).display());
    }
    script +=
        &format!("{}\n/image {}\nHow many shapes are there?\n", "word ".repeat(3000), image(0));
    script += &format!("{}/reset\n", format!("/image {}\n", image(1)).repeat(20));
    script += &format!("/image {}\nHow many shapes are there?\n", image(1));
    let mut chat = engines.cumo("chat", "engines").args(["--temperature", "0"]).spawn().unwrap();
    chat.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = chat.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "1\n4\n");
    let said = text(&output.stderr);
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error: line ")).collect();
    // Of 20 images behind the first, 13 have room in 512 positions.
    assert_eq!(errors.len(), 5 + 1 + 7, "{said}");
    assert!(errors[5].contains("the model's context has 512"), "{said}");
    assert!(errors[6].contains("no room for another image"), "{said}");
    engines.nothing_is_wrong();
}

#[test]
fn engines_are_verified_file_by_file_and_a_missing_device_is_told() {
    let engines = Engines::new();
    let verify = |model: &str| engines.cumo("verify", model).output().unwrap();
    let said = succeeded(verify("engines"));
    assert!(said.ends_with("files are as they were written\n"), "{said}");
    let weights = engines.at("engines/llm.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&weights, bytes).unwrap();
    let output = verify("engines");
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stdout);
    assert!(said.contains("damaged: `llm.safetensors` has sha256"), "{said}");

    let mut doctor = Command::new(env!("CARGO_BIN_EXE_cumo"));
    let doctor = doctor.arg("doctor").envs(engines.stand_in.variables()).output().unwrap();
    let said = text(&doctor.stdout);
    assert!(said.contains("TensorRT rtx  0.0.0.1"), "{said}");
    assert!(said.contains("device 0    Stand-in (8.9), 8.0 GiB"), "{said}");
    assert!(said.contains("\nEngines of TensorRT rtx can run"), "{said}");

    // A board has no ONNX Runtime.
    let mut doctor = Command::new(env!("CARGO_BIN_EXE_cumo"));
    doctor.args(["doctor", "--json"]).envs(engines.stand_in.variables());
    let json = succeeded(doctor.env("ORT_DYLIB_PATH", "/nowhere").output().unwrap());
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&report["runs_bundles"], &report["runs_engines"]), (&false.into(), &true.into()));

    let mut run = engines.cumo("run", "engines");
    let output = run.args(["--prompt", "Hi", "--device", "2"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("there is no device 2, only device 0"), "{said}");
}

#[test]
fn stages_have_the_time_until_the_device_has_ended_them() {
    let engines = Engines::new();
    let settings =
        Settings { execution_milliseconds: 20.0, is_traced: true, ..Settings::default() };
    engines.stand_in.set(&settings).unwrap();
    let waits = || {
        let trace = engines.stand_in.trace();
        trace.iter().filter(|line| line.ends_with(": synchronize")).count()
    };
    let run = |options: &[&str]| {
        let mut run = engines.cumo("run", "engines");
        run.args(["--image", &image(0), "--prompt", "How many?", "--ignore-eos", "-n", "3"]);
        let before = waits();
        let output = run.args(options).output().unwrap();
        (text(&output.stderr), waits() - before, succeeded(output))
    };
    let (_, waits_without, _) = run(&[]);
    let (said, waits_with, json) = run(&["--json", "--timings"]);
    let answer: serde_json::Value = serde_json::from_str(&json).unwrap();
    let of = |stage: &str| answer["milliseconds"][stage].as_f64().unwrap();
    for stage in ["vision", "connector", "prefill", "per_token"] {
        assert!(of(stage) >= 20.0, "{stage}: {answer}");
    }
    let parts = of("image") + of("vision") + of("connector") + of("prefill");
    assert!(parts <= of("first_token"), "{answer}");
    // What this program does while the device works takes no time of its own.
    assert_eq!(answer["milliseconds"]["overhead_per_token"], serde_json::Value::Null);
    assert!(said.contains(" ms a token)"), "{said}");
    assert!(waits_without > 0 && waits_without < waits_with, "{waits_without} {waits_with}");
    engines.nothing_is_wrong();
}

#[test]
fn ctrl_c_in_a_prompt_ends_between_two_pieces() {
    let engines = Engines::new();
    let executing = Settings { execution_milliseconds: 20.0, ..Settings::default() };
    engines.stand_in.set(&Settings { is_traced: true, ..executing }).unwrap();
    // Fifteen pieces of some steps each: seconds.
    let ids: Vec<String> = (0..480).map(|index| (3 + index % 50).to_string()).collect();
    let mut run = engines.cumo("run", "engines");
    let mut run = run.args(["--json", "--prompt-ids", &ids.join(",")]).spawn().unwrap();
    let start = Instant::now();
    let executes = |line: &String| line.contains("execute `embed_tokens`");
    while !engines.stand_in.trace().iter().any(executes) {
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", engines.stand_in.trace());
        std::thread::sleep(Duration::from_millis(5));
    }
    support::interrupt(run.id());
    let interrupted = Instant::now();
    let mut said = String::new();
    run.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    let status = run.wait().unwrap();
    assert_eq!(status.code(), Some(130), "{said}");
    let answer: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(answer["finish_reason"], "cancelled");
    assert_eq!(answer["tokens"], serde_json::json!([]));
    assert!(interrupted.elapsed() < Duration::from_secs(3), "{:?}", interrupted.elapsed());
    engines.nothing_is_wrong();
}

#[test]
fn engines_are_measured_as_they_answer() {
    let engines = Engines::new();
    let file = engines.at("r.json");
    let mut bench = engines.cumo("bench", "engines");
    bench.args([
        "--image",
        &image(0),
        "--prompt-tokens",
        "100",
        "--gen",
        "4",
        "--depth",
        "0,40,512",
    ]);
    bench.args([
        "--repetitions",
        "2",
        "--warmup",
        "0",
        "--cold-starts",
        "2",
        "--device",
        "0",
        "-o",
    ]);
    let table = succeeded(bench.arg(&file).output().unwrap());
    let result = BenchResult::read(&file).unwrap();
    assert_eq!((result.answers.len(), result.cold_starts.len()), (2, 2));
    assert!(result.cold_starts[0].first_token_ns.is_some());
    // The first new process keeps what it compiled.
    let found: Vec<_> = result.cold_starts.iter().map(|start| start.kernels_found).collect();
    assert_eq!(found, [Some(false), Some(true)]);
    assert!(table.contains("1 compiled the device's kernels and 1 found"), "{table}");
    assert_eq!(fs::read_dir(engines.at("cache")).unwrap().count(), 1);
    let rows: Vec<(u64, u64)> =
        result.prefill.iter().map(|row| (row.tokens, row.depth_tokens)).collect();
    assert_eq!(rows, [(100, 0), (100, 40)], "prompts of more tokens than engines take at once");
    assert_eq!(result.generation.len(), 2);
    assert!(result.notes.iter().any(|note| note.starts_with("depth 512 was skipped")));
    for answer in &result.answers {
        assert!(answer.first_token.parts().iter().all(|(_, part)| part.is_some()));
    }
    let device = result.environment.device.unwrap();
    assert_eq!((device.name.as_str(), device.compute_capability), ("Stand-in", Some(89)));
    assert_eq!(result.environment.library.name, "TensorRT-RTX");
    assert!(table.contains("Stand-in"), "{table}");
    assert!(result.memory.peak_device_bytes.unwrap() > result.memory.weights_bytes.unwrap());
    // The files that a user can hash.
    let sha256 =
        |file: &str| Some(hash_reader(&fs::read(engines.at(file)).unwrap()[..], |_| ()).unwrap());
    assert_eq!(Some(result.model.bundle_sha256), sha256("bundle/manifest.json"));
    assert_eq!(result.model.engines_sha256, sha256("engines/manifest.json"));
    assert_eq!(result.model.context_length, Some(512));
    engines.nothing_is_wrong();
}
