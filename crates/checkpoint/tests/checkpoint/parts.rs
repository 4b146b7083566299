//! Parts of a model in other places than one folder, as the stages of training leave them.

use std::path::Path;

use cumo_checkpoint::Config;
use tempfile::{TempDir, tempdir};

use crate::fixture::*;
use crate::goldens::golden;

fn dense() -> Form {
    Form { clip_smoe: false, projector: "mlp2x_gelu", ..Form::default() }
}

/// Tower, connector and LLM of a whole checkpoint.
fn split(tensors: &Tensors) -> [Tensors; 3] {
    let part = |belongs: fn(&str) -> bool| {
        let belonging = tensors.iter().filter(|(name, _)| belongs(name));
        belonging.map(|(name, raw)| (name.clone(), raw.clone())).collect()
    };
    [
        part(|name| name.contains("vision_tower")),
        part(|name| name.contains("mm_projector")),
        part(|name| !name.contains("vision_tower") && !name.contains("mm_projector")),
    ]
}

fn renamed(tensors: &Tensors, from: &str, to: &str) -> Tensors {
    tensors.iter().map(|(name, raw)| (name.replace(from, to), raw.clone())).collect()
}

/// Stage 1: connector beside `config.json`, LLM and CLIP in folders of their own.
fn write_stage_1(dir: &Path, tensors: &Tensors) -> [TempDir; 2] {
    let [vision, connector, llm] = split(tensors);
    write_torch(&dir.join("mm_projector.bin"), &connector);
    let folders = [tempdir().unwrap(), tempdir().unwrap()];
    write_shards(
        folders[0].path(),
        &llm,
        5,
        ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"],
        "pytorch_model.bin.index.json",
        write_torch,
    );
    let clip = renamed(&vision, "model.vision_tower.", "");
    write_safetensors(&folders[1].path().join("model.safetensors"), &clip);
    folders
}

#[test]
fn assembled_from_parts_is_the_same_as_whole() {
    let spec = dense().spec();
    let whole = used(&spec.open().unwrap());
    let dir = spec.write_config();
    let [llm, clip] = write_stage_1(dir.path(), &spec.tensors);
    let parts = open_with(dir.path(), Some(llm.path()), Some(clip.path())).unwrap();
    assert_eq!(used(&parts), whole);
    assert!(parts.model.connector.tensors()[0].file().ends_with("mm_projector.bin"));
}

#[test]
fn dense_golden_assembled_from_parts_is_the_same_as_whole() {
    let from = golden("mistral-dense");
    let whole = used(&open(&from).unwrap());
    let dir = tempdir().unwrap();
    std::fs::copy(from.join("config.json"), dir.path().join("config.json")).unwrap();
    let [llm, clip] = write_stage_1(dir.path(), &whole);
    for file in ["config.json", "preprocessor_config.json"] {
        std::fs::copy(from.join("clip").join(file), clip.path().join(file)).unwrap();
    }
    let parts = open_with(dir.path(), Some(llm.path()), Some(clip.path())).unwrap();
    assert_eq!(used(&parts), whole);
    assert_eq!(parts.config.tower.as_deref(), Some(clip.path()));
    let config = open(&from).unwrap().config;
    assert_eq!(parts.config, Config { tower: parts.config.tower.clone(), ..config });
}

#[test]
fn stage_2_leaves_tower_and_connector_beside_the_llm() {
    let spec = dense().spec();
    let whole = used(&spec.open().unwrap());
    let dir = spec.write_config();
    let [vision, connector, llm] = split(&spec.tensors);
    write_safetensors(&dir.path().join("model.safetensors"), &llm);
    write_torch(&dir.path().join("mm_projector.bin"), &connector);
    write_torch(&dir.path().join("clip.bin"), &renamed(&vision, "model.vision_tower.", ""));
    assert_eq!(used(&open(dir.path()).unwrap()), whole);
}

#[test]
fn copies_beside_a_whole_folder_are_not_read() {
    let spec = dense().spec();
    let dir = spec.write();
    std::fs::write(dir.path().join("clip.bin"), "no archive").unwrap();
    std::fs::write(dir.path().join("mm_projector.bin"), "no archive").unwrap();
    assert_eq!(used(&open(dir.path()).unwrap()), used(&spec.open().unwrap()));
}

#[test]
fn every_missing_part_is_named_with_what_brings_it() {
    let dir = dense().spec().write_config();
    let text = message(&open(dir.path()).unwrap_err());
    assert_all(
        &text,
        &[
            "no weights of the vision tower in",
            "clip.bin; --clip DIR brings them from CLIP's folder",
            "no weights of the connector in",
            "mm_projector.bin; they are in",
            "no weights of the LLM in",
            "--llm DIR brings them from the base model's folder",
        ],
    );
    std::fs::write(dir.path().join("adapter_config.json"), "{}").unwrap();
    let text = message(&open(dir.path()).unwrap_err());
    assert_all(&text, &["LoRA adapter, which is not supported, because"]);
}

#[test]
fn a_base_model_that_does_not_fit_is_named() {
    let spec = dense().spec();
    let dir = spec.write_config();
    let mut tensors = spec.tensors.clone();
    tensors.insert("model.embed_tokens.weight".into(), Raw::f16(&[15, 8], 0));
    let [llm, clip] = write_stage_1(dir.path(), &tensors);
    let error = open_with(dir.path(), Some(llm.path()), Some(clip.path())).unwrap_err();
    assert_all(
        &message(&error),
        &[
            "1 misshapen",
            "`model.embed_tokens.weight` is [15, 8], the configuration needs [16, 8]",
            &llm.path().display().to_string(),
        ],
    );
}

#[test]
fn folders_that_are_none_are_named() {
    let dir = dense().spec().write();
    let absent = dir.path().join("absent");
    let text = message(&open_with(dir.path(), Some(&absent), None).unwrap_err());
    assert_all(&text, &["absent: cannot be read", "No such file"]);
    let file = dir.path().join("config.json");
    let text = message(&open_with(dir.path(), None, Some(&file)).unwrap_err());
    assert_all(&text, &["config.json is not a folder"]);
    assert_all(&message(&open(&file).unwrap_err()), &["config.json is not a folder"]);
}

#[test]
fn shards_are_one_model() {
    let spec = Form::default().spec();
    let whole = used(&spec.open().unwrap());
    let dir = spec.write_config();
    write_shards(
        dir.path(),
        &spec.tensors,
        20,
        ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"],
        "model.safetensors.index.json",
        write_safetensors,
    );
    assert_eq!(used(&open(dir.path()).unwrap()), whole);
}
