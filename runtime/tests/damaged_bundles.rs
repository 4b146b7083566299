//! `cumo run` on bundles whose files are not what the exporter wrote.

mod support;

use std::fs;

use support::{Bundle, image, text};

/// What the program says of a bundle that it does not run.
fn complaint(bundle: &Bundle) -> String {
    let mut run = bundle.cumo("run");
    let output = run.args(["--image", &image(0), "--prompt", "Describe."]).output().unwrap();
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(output.stdout.is_empty() && error.lines().count() == 1, "{error}");
    error
}

#[test]
fn a_graph_reads_no_file_outside_of_its_bundle() {
    let bundle = Bundle::new();
    // A file of the right size is there, so that it is the place that is refused.
    let (inside, outside) = ("embed.onnx.data", "../outside.data");
    fs::copy(bundle.file(inside), bundle.beside("outside.data")).unwrap();
    bundle.change("embed.onnx", |bytes| {
        let places: Vec<usize> = bytes
            .windows(inside.len())
            .enumerate()
            .filter(|(_, window)| *window == inside.as_bytes())
            .map(|(at, _)| at)
            .collect();
        assert!(!places.is_empty());
        for at in places {
            bytes[at..at + inside.len()].copy_from_slice(outside.as_bytes());
        }
    });
    let error = complaint(&bundle);
    assert!(error.contains("embed.onnx") && error.contains(outside), "{error}");
}

#[test]
fn a_cut_weights_file_is_named_with_its_sizes() {
    let bundle = Bundle::new();
    let size = fs::metadata(bundle.file("llm.onnx.data")).unwrap().len();
    bundle.change("llm.onnx.data", |bytes| bytes.truncate(bytes.len() - 1));
    let error = complaint(&bundle);
    assert!(error.contains("llm.onnx.data"), "{error}");
    assert!(
        error.contains(&size.to_string()) && error.contains(&(size - 1).to_string()),
        "{error}"
    );
}

#[test]
fn a_missing_weights_file_is_named() {
    let bundle = Bundle::new();
    fs::remove_file(bundle.file("vision.onnx.data")).unwrap();
    assert!(complaint(&bundle).contains("vision.onnx.data"));
}

#[test]
fn a_changed_graph_is_named() {
    for mask in [0x01, 0xff] {
        let bundle = Bundle::new();
        bundle.change("llm.onnx", |bytes| bytes.iter_mut().step_by(7).for_each(|b| *b ^= mask));
        assert!(complaint(&bundle).contains("llm.onnx"));
    }
}

#[test]
fn verify_names_what_the_manifest_does_not_list_and_the_bundle_is_intact() {
    let bundle = Bundle::new();
    fs::write(bundle.file("llm.onnx.part"), "").unwrap();
    let output = bundle.cumo("verify").output().unwrap();
    assert!(output.status.success());
    assert_eq!(text(&output.stderr), "note: not in the manifest: llm.onnx.part\n");
    let output = bundle.cumo("verify").arg("--json").output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["unlisted"], serde_json::json!(["llm.onnx.part"]));
    assert_eq!((&report["intact"], &report["unlisted_others"]), (&true.into(), &0.into()));
}

#[test]
fn verify_finds_a_weight_that_was_changed() {
    let bundle = Bundle::new();
    let verify = || bundle.cumo("verify").output().unwrap();
    assert!(verify().status.success());
    bundle.change("llm.onnx.data", |bytes| bytes[1000] ^= 1);
    let output = verify();
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(said.contains("llm.onnx.data"), "{said}");
}
