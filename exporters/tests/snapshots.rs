//! Graphs and reports of small checkpoints as text, compared with the files in `snapshots/`.
//!
//! A change that is meant is taken over with `CUMO_RENEW_SNAPSHOTS=1 cargo test -p cumo-export
//! --test snapshots`, and reviewed as the difference of these files.

mod support;

use std::path::Path;
use std::{env, fs};

use cumo_bundle::Target;
use cumo_checkpoint::{Checkpoint, Sources};
use cumo_export::RouterOutputs;
use cumo_export::part::{Part, PartName};
use cumo_export::target::{self, OrtCpu, Portable};
use cumo_onnx::DType;
use support::{cumo_export, golden, stderr};

/// Compares `text` with the snapshot `name`, or writes it.
fn compare(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(name);
    if env::var_os("CUMO_RENEW_SNAPSHOTS").is_some() {
        fs::write(&path, text).unwrap();
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    let (mut new, mut old) = (text.lines(), expected.lines());
    for line in 1.. {
        let (new, old) = (new.next(), old.next());
        assert!(
            new == old,
            "{name}, line {line}:\n  is  {}\n  was {}\nIf this is meant: CUMO_RENEW_SNAPSHOTS=1",
            new.unwrap_or("(nothing)"),
            old.unwrap_or("(nothing)")
        );
        if new.is_none() {
            break;
        }
    }
}

fn compare_graphs(model: &str, target: Target, dtype: DType, parts: &[PartName]) {
    let sources = Sources { checkpoint: golden(model), llm: None, clip: None };
    let checkpoint = Checkpoint::open(&sources).unwrap();
    let spelling: &dyn target::Target = match target {
        Target::OrtCpu => &OrtCpu,
        _ => &Portable,
    };
    for &name in parts {
        let part =
            Part::build(name, &checkpoint, spelling, dtype, RouterOutputs::default()).unwrap();
        let file = format!("{model}.{}-{dtype}.{}.txt", target.name(), name.name());
        compare(&file, &part.graph.to_string());
    }
}

#[test]
fn graphs_of_mistral_with_experts_in_standard_operators() {
    compare_graphs("mistral-moe", Target::Onnx, DType::F32, &PartName::ALL);
}

#[test]
fn graphs_of_mistral_in_half_precision_with_fused_operators() {
    let parts = [PartName::Vision, PartName::Llm];
    compare_graphs("mistral-dense", Target::OrtCpu, DType::F16, &parts);
}

#[test]
fn the_decoder_of_mixtral_routes() {
    compare_graphs("mixtral-moe", Target::Onnx, DType::F16, &[PartName::Llm]);
}

#[test]
fn reports_of_what_checkpoints_hold() {
    for model in ["mistral-moe", "mistral-dense", "mixtral-moe"] {
        for (options, file) in [(&[][..], "txt"), (&["--json"], "json")] {
            let goldens = golden(model).ancestors().nth(2).unwrap().to_owned();
            let checkpoint = format!("{model}/checkpoint");
            let mut command = cumo_export();
            command.current_dir(goldens).arg("inspect").arg(checkpoint).args(options);
            let output = command.output().unwrap();
            assert!(output.status.success(), "{}", stderr(&output));
            compare(&format!("{model}.inspect.{file}"), &String::from_utf8(output.stdout).unwrap());
        }
    }
}
