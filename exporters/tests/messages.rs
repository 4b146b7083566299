//! What a user reads when a checkpoint or an argument is wrong, and that nothing is left behind.

mod support;

use std::fs;
use std::path::Path;

use safetensors::tensor::Dtype;
use support::{Changed, cumo_export, export, golden, names, stderr};

/// Exports a changed golden that must be refused; gives the message.
fn refused(change: impl FnOnce(&mut Changed)) -> String {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = folder.path().join("checkpoint");
    let mut changed = Changed::new();
    change(&mut changed);
    changed.write(&checkpoint);
    refused_folder(folder.path(), &checkpoint)
}

fn refused_folder(folder: &Path, checkpoint: &Path) -> String {
    let output = export(checkpoint, &folder.join("bundle"), &[]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert_eq!(names(folder), ["checkpoint"], "something was left behind");
    let message = stderr(&output);
    assert!(!message.contains("panicked"), "{message}");
    message
}

#[test]
fn every_missing_and_misshapen_tensor_is_named() {
    let message = refused(|changed| {
        changed.tensors.remove("model.norm.weight");
        changed.tensors.remove("model.mm_projector.gate.weight");
        let tensor = (Dtype::BF16, vec![63], vec![0; 126]);
        changed.tensors.insert("model.layers.1.input_layernorm.weight".to_owned(), tensor);
    });
    for name in [
        "model.norm.weight",
        "model.mm_projector.gate.weight",
        "model.layers.1.input_layernorm.weight",
    ] {
        assert!(message.contains(name), "{name} not in {message}");
    }
    assert!(message.contains("[63]") && message.contains("[64]"), "{message}");
}

#[test]
fn absurd_numbers_in_the_configuration_are_named_all_at_once() {
    let message = refused(|changed| {
        changed.config["num_attention_heads"] = 0.into();
        changed.config["num_hidden_layers"] = 1_000_000_000_000u64.into();
        changed.config["num_selected"] = 99.into();
    });
    for key in ["num_attention_heads", "num_hidden_layers", "num_selected"] {
        assert!(message.contains(key), "{key} not in {message}");
    }
}

#[test]
fn what_is_not_supported_says_why() {
    let message = refused(|changed| changed.config["image_aspect_ratio"] = "anyres".into());
    assert!(message.contains("anyres") && message.contains("not supported"), "{message}");
    let message = refused(|changed| changed.config["model_type"] = "llava_qwen".into());
    assert!(message.contains("llava_qwen") && message.contains("not supported"), "{message}");
}

#[test]
fn the_template_that_a_checkpoint_names_is_taken_and_must_be_known() {
    let message = refused(|changed| changed.config["conv_mode"] = "vicuna".into());
    assert!(message.contains("conv_mode `vicuna`") && message.contains("v1"), "{message}");

    let folder = tempfile::tempdir().unwrap();
    let (checkpoint, bundle) = (folder.path().join("checkpoint"), folder.path().join("bundle"));
    let mut changed = Changed::new();
    changed.config["conv_mode"] = "plain".into();
    changed.write(&checkpoint);
    let template = |arguments: &[&str]| {
        assert!(export(&checkpoint, &bundle, arguments).status.success());
        cumo_bundle::Bundle::open(&bundle).unwrap().manifest.model.template.name()
    };
    assert_eq!(template(&[]), "plain");
    assert_eq!(template(&["--force", "--template", "v1"]), "v1");
}

#[test]
fn a_truncated_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = folder.path().join("checkpoint");
    Changed::new().write(&checkpoint);
    let file = checkpoint.join("model.safetensors");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 100]).unwrap();
    let message = refused_folder(folder.path(), &checkpoint);
    assert!(message.contains("model.safetensors"), "{message}");
}

#[test]
fn a_header_of_2_to_the_60_bytes_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = folder.path().join("checkpoint");
    Changed::new().write(&checkpoint);
    let file = checkpoint.join("model.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    bytes[..8].copy_from_slice(&(1u64 << 60).to_le_bytes());
    fs::write(&file, bytes).unwrap();
    let message = refused_folder(folder.path(), &checkpoint);
    assert!(message.contains("1152921504606846976"), "{message}");
}

/// What a checkpoint with these files instead of `model.safetensors` is refused with.
fn refused_with(files: &[(&str, Vec<u8>)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = folder.path().join("checkpoint");
    Changed::new().write(&checkpoint);
    fs::remove_file(checkpoint.join("model.safetensors")).unwrap();
    for (name, bytes) in files {
        fs::write(checkpoint.join(name), bytes).unwrap();
    }
    refused_folder(folder.path(), &checkpoint)
}

/// The golden's weights with another header.
fn with_header(change: impl FnOnce(&mut serde_json::Value) -> String) -> Vec<u8> {
    let bytes = fs::read(golden("mistral-moe").join("model.safetensors")).unwrap();
    let length = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let (header, data) = bytes[8..].split_at(length);
    let header = change(&mut serde_json::from_slice(header).unwrap());
    let length = (header.len() as u64).to_le_bytes();
    [&length, header.as_bytes(), data].concat()
}

#[test]
fn tensors_that_overlap_are_named() {
    let name = "model.layers.1.input_layernorm.weight";
    let bytes = with_header(|header| {
        for end in header[name]["data_offsets"].as_array_mut().unwrap() {
            *end = (end.as_u64().unwrap() - 2).into();
        }
        header.to_string()
    });
    let message = refused_with(&[("model.safetensors", bytes)]);
    assert!(message.contains(name) && message.contains("an overlap"), "{message}");
}

#[test]
fn a_tensor_that_is_there_twice_is_named() {
    let name = "model.norm.weight";
    let twice = with_header(|header| {
        let again = format!("{{\"{name}\":{},", header[name]);
        header.to_string().replacen('{', &again, 1)
    });
    let message = refused_with(&[("model.safetensors", twice)]);
    assert!(message.contains(&format!("`{name}` is there twice")), "{message}");

    let whole = fs::read(golden("mistral-moe").join("model.safetensors")).unwrap();
    let index = br#"{"weight_map": {"model.norm.weight": "a.safetensors", "lm_head.weight": "b.safetensors"}}"#;
    let message = refused_with(&[
        ("model.safetensors.index.json", index.to_vec()),
        ("a.safetensors", whole.clone()),
        ("b.safetensors", whole),
    ]);
    assert!(message.contains("twice") && message.contains("a.safetensors"), "{message}");
}

#[test]
fn a_missing_shard_is_named() {
    let whole = fs::read(golden("mistral-moe").join("model.safetensors")).unwrap();
    let index = br#"{"weight_map": {"model.norm.weight": "a.safetensors", "lm_head.weight": "b.safetensors"}}"#;
    let message =
        refused_with(&[("model.safetensors.index.json", index.to_vec()), ("a.safetensors", whole)]);
    assert!(message.contains("shard `b.safetensors` is missing, with 1 tensors"), "{message}");
}

#[test]
fn a_pickle_that_calls_os_system_is_refused_and_nothing_runs() {
    let folder = tempfile::tempdir().unwrap();
    let marker = folder.path().join("ran");
    let command = format!("touch {}", marker.display());
    let mut pickle = b"\x80\x02cos\nsystem\n(X".to_vec();
    pickle.extend((command.len() as u32).to_le_bytes());
    pickle.extend(command.bytes());
    pickle.extend(b"tR.");
    let message = refused_with(&[("pytorch_model.bin", support::zip(&pickle))]);
    assert!(message.contains("`os.system`"), "{message}");
    assert!(message.contains("nothing was executed"), "{message}");
    assert!(!marker.exists());
}

#[test]
fn folders_that_nothing_is_taken_from_are_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let whole = golden("mistral-moe");
    let other = golden("mistral-moe");
    let other = other.to_str().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let elsewhere = elsewhere.path().to_str().unwrap();
    let output =
        export(&whole, &folder.path().join("bundle"), &["--llm", elsewhere, "--clip", elsewhere]);
    let message = stderr(&output);
    assert!(output.status.success(), "{message}");
    for flag in ["--llm", "--clip"] {
        assert!(message.contains(&format!("nothing was taken from {flag}")), "{message}");
    }
    let output = export(&whole, &folder.path().join("other"), &["--llm", other]);
    assert!(!stderr(&output).contains("nothing was taken"), "{}", stderr(&output));
}

#[test]
fn nan_weights_are_counted_and_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = folder.path().join("checkpoint");
    let mut changed = Changed::new();
    let (_, _, bytes) = changed.tensors.get_mut("model.layers.0.mlp.up_proj.weight").unwrap();
    bytes[..6].copy_from_slice(&[0xc0, 0x7f, 0xc0, 0x7f, 0x80, 0x7f]);
    let (_, _, bytes) = changed.tensors.get_mut("lm_head.weight").unwrap();
    bytes[..2].copy_from_slice(&half::bf16::from_f32(1e9).to_le_bytes());
    changed.write(&checkpoint);
    let output = export(&checkpoint, &folder.path().join("bundle"), &["--dtype", "f16"]);
    assert!(output.status.success());
    let message = stderr(&output);
    let up = "`model.layers.0.mlp.up_proj.weight` has numbers that are 2 NaN, 1 infinite";
    assert!(message.contains(up), "{message}");
    let head = "`lm_head.weight` has numbers that are 1 beyond f16's range";
    assert!(message.contains(head), "{message}");
}

#[test]
fn an_existing_folder_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("bundle")).unwrap();
    fs::write(folder.path().join("bundle/file"), b"mine").unwrap();
    let checkpoint = golden("mistral-moe");
    let bundle = folder.path().join("bundle");
    let message = stderr(&export(&checkpoint, &bundle, &[]));
    assert!(message.contains("exists; give another folder"), "{message}");
    let message = stderr(&export(&checkpoint, &bundle, &["--force"]));
    assert!(message.contains("not a bundle"), "{message}");
    assert_eq!(fs::read(folder.path().join("bundle/file")).unwrap(), b"mine");
}

#[test]
fn an_empty_folder_is_written_into() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("bundle");
    fs::create_dir(&bundle).unwrap();
    assert!(export(&golden("mistral-moe"), &bundle, &[]).status.success());
    cumo_bundle::Bundle::open(&bundle).unwrap();
}

/// A bundle is replaced as a whole: a checkpoint within it would be lost.
#[cfg(unix)]
#[test]
fn a_checkpoint_within_the_bundle_to_replace_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("bundle");
    let checkpoint = golden("mistral-moe");
    assert!(export(&checkpoint, &bundle, &[]).status.success());
    let inside = bundle.join("checkpoint");
    Changed::new().write(&inside);
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&inside, &link).unwrap();
    // A folder elsewhere of links to files within, as a cache of downloads has them.
    let cached = folder.path().join("cached");
    Changed::new().write(&cached);
    let weights = cached.join("model.safetensors");
    fs::remove_file(&weights).unwrap();
    std::os::unix::fs::symlink(inside.join("model.safetensors"), &weights).unwrap();

    // A checkpoint elsewhere that names a tower's configuration within.
    let naming = folder.path().join("naming");
    let mut changed = Changed::new();
    changed.config["mm_vision_tower"] = inside.join("clip").to_str().unwrap().into();
    changed.write(&naming);

    let inside_text = inside.to_str().unwrap();
    let linked = bundle.join("..").join("bundle");
    for (checkpoint, output, arguments) in [
        (&inside, &bundle, vec!["--force"]),
        (&inside, &linked, vec!["--force"]),
        (&link, &bundle, vec!["--force"]),
        (&cached, &bundle, vec!["--force"]),
        (&naming, &bundle, vec!["--force"]),
        (&checkpoint, &bundle, vec!["--force", "--llm", inside_text]),
        (&checkpoint, &bundle, vec!["--force", "--clip", inside_text]),
    ] {
        let message = stderr(&export(checkpoint, output, &arguments));
        assert!(message.contains("--force would replace"), "{checkpoint:?}: {message}");
        assert!(inside.join("model.safetensors").exists());
    }
    assert_eq!(names(folder.path()), ["bundle", "cached", "link", "naming"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_systems_reason_is_said_once_with_the_path_that_was_given() {
    let folder = tempfile::tempdir().unwrap();
    let nothing = folder.path().join("nothing");
    let inspected = cumo_export().arg("inspect").arg(&nothing).output().unwrap();
    let exported = export(&nothing, &folder.path().join("bundle"), &[]);
    for message in [stderr(&inspected), stderr(&exported)] {
        assert_eq!(message.matches("nothing").count(), 1, "{message}");
        assert_eq!(message.matches("No such file").count(), 1, "{message}");
    }
    let message = stderr(&export(&golden("mistral-moe"), Path::new("/proc/x"), &[]));
    assert!(message.contains("/proc/x") && !message.contains("partial"), "{message}");
}

#[test]
fn unknown_targets_and_types_list_the_known_ones() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        stderr(&export(&golden("mistral-moe"), &folder.path().join("bundle"), arguments))
    };
    let message = run(&["--target", "tflite"]);
    assert!(message.contains("onnx, ort-cpu"), "{message}");
    let message = run(&["--dtype", "bf16"]);
    assert!(message.contains("f32, f16"), "{message}");
    assert!(names(folder.path()).is_empty());
}

#[test]
fn a_checkpoint_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let output = export(&folder.path().join("nothing"), &folder.path().join("bundle"), &[]);
    assert!(stderr(&output).contains("nothing"), "{}", stderr(&output));
    assert!(names(folder.path()).is_empty());
}
