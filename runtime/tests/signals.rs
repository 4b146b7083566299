//! Ctrl-C while a model is loaded.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A bundle that opens and whose graphs are empty files.
fn write_bundle(folder: &Path) {
    let value = |name: &str, shape: Value| json!({ "name": name, "dtype": "f32", "shape": shape });
    let graph = |input: Value, output: Value| json!({ "file": "graph.onnx", "inputs": [input], "outputs": [output] });
    let step = |graph: &str, input: &str, output: &str| {
        let bind = |name: &str| json!({ name: { "activation": name } });
        json!([{ "graph": graph, "inputs": bind(input), "outputs": bind(output) }])
    };
    let embeds = || value("inputs_embeds", json!(["batch", "sequence", 4]));
    let manifest = json!({
        "format": "cumo-bundle", "format_version": 1, "producer": "test", "target": "onnx",
        "precision": {},
        "model": {
            "name": "test", "model_type": "llava_mistral",
            "image": { "size": 2, "aspect_ratio": "pad", "mean": [0, 0, 0], "std": [1, 1, 1] },
            "vision": {
                "scales": [1], "image_tokens": 1, "hidden_size": 4, "num_layers": 1, "moe": null,
                "connector_moe": null
            },
            "llm": {
                "vocab_size": 8, "hidden_size": 4, "num_layers": 1, "num_attention_heads": 1,
                "num_key_value_heads": 1, "head_dim": 4, "context_length": 8,
                "sliding_window": null, "moe": null, "bos_token_id": 1, "eos_token_ids": [2]
            },
            "tokenizer": null, "template": "plain"
        },
        "graphs": {
            "vision": graph(
                value("pixel_values", json!(["images", 3, 2, 2])),
                value("image_embeds", json!(["images", 1, 4])),
            ),
            "embed": graph(value("input_ids", json!(["batch", "sequence"])), embeds()),
            "llm": graph(embeds(), value("logits", json!(["batch", "sequence", 8]))),
        },
        "plan": {
            "cache": [],
            "encode_images": step("vision", "pixel_values", "image_embeds"),
            "embed_tokens": step("embed", "input_ids", "inputs_embeds"),
            "decode": step("llm", "inputs_embeds", "logits"),
        },
        "files": { "graph.onnx": { "bytes": 0, "sha256": "0".repeat(64) } },
    });
    fs::write(folder.join("graph.onnx"), "").unwrap();
    fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
}

/// `cumo` that loads an ONNX Runtime whose start takes a minute, once it does; its temporary files
/// are in the folder `temporary`.
fn loading(folder: &Path, arguments: &[&str]) -> Child {
    let library = folder.join("libonnxruntime.so");
    let source = folder.join("slow.c");
    let text = "#include <unistd.h>\n__attribute__((constructor)) static void start(void) { sleep(60); }\n";
    fs::write(&source, text).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source);
    assert!(compiler.status().unwrap().success());
    let temporary = folder.join("temporary");
    fs::create_dir(&temporary).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_cumo"))
        .args(arguments)
        .arg("--model")
        .arg(folder)
        .env("ORT_DYLIB_PATH", &library)
        .env("TMPDIR", temporary)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until_it_listens(&child);
    child
}

/// Waits until the program has a handler for SIGINT: the kernel lists the signals that are caught.
fn wait_until_it_listens(child: &Child) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        // Signal 2 is the second bit.
        if u64::from_str_radix(caught.trim(), 16).unwrap() & 2 != 0 {
            return;
        }
        thread::sleep(Duration::from_millis(2));
    }
    panic!("it does not listen to Ctrl-C");
}

/// Waits until the program has mapped the library.
fn wait_until_it_loads(child: &Child) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        let maps = fs::read_to_string(format!("/proc/{}/maps", child.id())).unwrap();
        if maps.contains("libonnxruntime.so") {
            return;
        }
        thread::sleep(Duration::from_millis(2));
    }
    panic!("it does not load the library");
}

fn ended(mut child: Child) -> std::process::ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if start.elapsed() > Duration::from_secs(10) {
            child.kill().unwrap();
            panic!("it goes on: {:?}", child.wait_with_output());
        }
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_signal_while_loading_ends_the_program_at_once() {
    use std::os::unix::process::ExitStatusExt;
    for (signal, code, number) in [("INT", Some(130), None), ("TERM", None, Some(15))] {
        let folder = tempfile::tempdir().unwrap();
        write_bundle(folder.path());
        let child = loading(folder.path(), &["run", "--prompt-ids", "1"]);
        let kill = ["-s", signal, &child.id().to_string()].map(str::to_owned);
        assert!(Command::new("kill").args(kill).status().unwrap().success());
        let status = ended(child);
        assert_eq!((status.code(), status.signal()), (code, number), "{signal}");
    }
}

#[test]
fn a_benchmark_that_a_signal_ends_while_loading_leaves_no_files() {
    for signal in ["INT", "TERM", "KILL"] {
        let folder = tempfile::tempdir().unwrap();
        write_bundle(folder.path());
        let results = tempfile::tempdir().unwrap();
        let file = results.path().join("r.json");
        let arguments = ["bench", "--cold-starts", "0", "-o", file.to_str().unwrap()];
        let child = loading(folder.path(), &arguments);
        wait_until_it_loads(&child);
        let kill = ["-s", signal, &child.id().to_string()].map(str::to_owned);
        assert!(Command::new("kill").args(kill).status().unwrap().success());
        ended(child);
        for left in [&folder.path().join("temporary"), results.path()] {
            assert_eq!(fs::read_dir(left).unwrap().count(), 0, "{signal}: {}", left.display());
        }
    }
}
