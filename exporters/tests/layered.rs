//! Graphs of layers and their weights: for the published models' sizes with no weights at hand, and
//! for a golden checkpoint, read by another reader of safetensors.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use std::collections::BTreeSet;
use std::fs;

use cumo_bundle::{Binding, Bundle, CacheUpdate, Manifest, Phase, WEIGHT_ALIGNMENT};
use cumo_checkpoint::{Checkpoint, Sources};
use cumo_export::RouterOutputs;
use cumo_export::layered::{Assembly, LayerOptions, MoeKind, Version, assemble};
use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors};
use support::{export, golden, names, stderr};

/// The configuration of CuMo-Mistral-7B, or with `experts` of CuMo-Mixtral-8x7B.
fn published(experts: bool) -> Checkpoint {
    let mut config = serde_json::json!({
        "model_type": "llava_mistral",
        "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 14336,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
        "max_position_embeddings": 32768, "rms_norm_eps": 1e-5, "rope_theta": 1e6,
        "sliding_window": null, "bos_token_id": 1, "eos_token_id": 2,
        "mm_vision_tower": "openai/clip-vit-large-patch14-336", "mm_hidden_size": 1024,
        "mm_projector_type": "smoe_mlp", "mm_vision_select_layer": -2,
        "mm_vision_select_feature": "patch", "scales": [1, 3], "num_experts": 4,
        "num_selected": 2, "mlp_smoe": true, "clip_smoe": true, "image_aspect_ratio": "pad",
    });
    if experts {
        config["model_type"] = "llava_mixtral".into();
        config["num_local_experts"] = 8.into();
        config["num_experts_per_tok"] = 2.into();
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let checkpoint = folder.path().to_owned();
    Checkpoint::shapes(&Sources { checkpoint, llm: None, clip: None }).unwrap()
}

fn assembled(checkpoint: &Checkpoint, version: Version, moe: MoeKind) -> Assembly {
    assemble(checkpoint, LayerOptions { version, moe, router_outputs: RouterOutputs::default() })
        .unwrap()
}

fn kinds(assembly: &Assembly) -> Vec<&str> {
    assembly.kinds.iter().map(|kind| kind.name.as_str()).collect()
}

const KINDS: [&str; 8] = [
    "vision_embed",
    "vision_layer",
    "vision_pool",
    "connector",
    "embed_tokens",
    "decoder_inputs",
    "decoder_layer",
    "head",
];

#[test]
fn the_published_models_are_eight_small_graphs_of_which_layers_run_often() {
    // Bytes of the LLM: its parameters but the embedding in f16, norms and rotary tables in f32.
    for (experts, llm_bytes) in [(false, 14_238_629_888_u64), (true, 93_162_848_256)] {
        let checkpoint = published(experts);
        for version in [Version::Current, Version::V10_3] {
            let assembly = assembled(&checkpoint, version, MoeKind::Plugin);
            assert_eq!(kinds(&assembly), KINDS);
            let steps = Phase::ALL.map(|phase| assembly.plan.steps(phase).len());
            assert_eq!(steps, [26, 1, 34]);
            let encode = |kind: &cumo_export::layered::Kind| {
                assert!(kind.graph.initializers().is_empty(), "{}", kind.name);
                kind.graph.encode(&kind.name, "none", ("test", "0")).len()
            };
            assert!(assembly.kinds.iter().map(encode).sum::<usize>() < 100_000);
            let bytes = |named: &cumo_export::NamedWeight| {
                let elements: usize = named.weight.shape().iter().product();
                elements as u64 * named.weight.dtype.size() as u64
            };
            let of_llm = assembly.weights.iter().find(|(part, _)| part.name() == "llm").unwrap();
            assert_eq!(of_llm.1.iter().map(bytes).sum::<u64>(), llm_bytes);
        }
    }
}

#[test]
fn every_weight_is_bound_and_every_binding_is_a_weight() {
    let assembly = assembled(&published(true), Version::Current, MoeKind::Plugin);
    let kept: BTreeSet<&str> = assembly
        .weights
        .iter()
        .flat_map(|(_, weights)| weights)
        .map(|weight| weight.name.as_str())
        .collect();
    let steps = Phase::ALL.into_iter().flat_map(|phase| assembly.plan.steps(phase));
    let bound: BTreeSet<&str> = steps
        .flat_map(|step| step.inputs.values())
        .filter_map(|binding| match binding {
            Binding::Weight(name) => Some(name.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(kept, bound);
    assert!(bound.contains("model.layers.31.block_sparse_moe.experts.7.w2.weight"));
    assert!(bound.contains("model.layers.31.self_attn.qkv_proj.weight"));
}

#[test]
fn twins_are_there_for_plugin_nodes_alone() {
    let checkpoint = published(false);
    let twins = |moe| {
        let assembly = assembled(&checkpoint, Version::Current, moe);
        let with = assembly.kinds.into_iter().filter(|kind| kind.twin.is_some());
        with.map(|kind| kind.name).collect::<Vec<_>>()
    };
    assert_eq!(twins(MoeKind::Plugin), ["vision_layer", "connector"]);
    assert!(twins(MoeKind::Function).is_empty());
}

#[test]
fn layers_that_differ_are_kinds_of_their_own() {
    let (mut mixed, dense) = (published(true), published(false));
    for layer in [1, 2] {
        mixed.model.llm.layers[layer].feed_forward =
            dense.model.llm.layers[layer].feed_forward.clone();
    }
    let assembly = assembled(&mixed, Version::Current, MoeKind::Plugin);
    let decode: Vec<_> = assembly.plan.decode.iter().map(|step| step.graph.as_str()).collect();
    let (sparse, dense) = ("decoder_layer", "decoder_layer_2");
    assert_eq!(decode[..5], ["decoder_inputs", sparse, dense, dense, sparse]);
    assert_eq!(assembly.kinds.len(), KINDS.len() + 1);
}

/// The bundle of a golden for a target.
fn bundle(checkpoint: &str, target: &str) -> (tempfile::TempDir, Bundle) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle");
    let output = export(&golden(checkpoint), &path, &["--target", target]);
    assert!(output.status.success(), "{}", stderr(&output));
    let bundle = Bundle::open(&path).unwrap();
    (folder, bundle)
}

/// The numbers of a bf16 tensor of the golden `mistral-moe`.
fn numbers(checkpoint: &SafeTensors<'_>, name: &str) -> (Vec<usize>, Vec<f32>) {
    let tensor = checkpoint.tensor(name).unwrap();
    assert_eq!(tensor.dtype(), Dtype::BF16);
    let (pairs, _) = tensor.data().as_chunks::<2>();
    (tensor.shape().to_vec(), pairs.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect())
}

#[test]
fn weights_files_are_strict_safetensors_with_aligned_tensors_as_the_manifest_says() {
    for target in ["tensorrt", "tensorrt-10.3"] {
        let (folder, bundle) = bundle("mistral-moe", target);
        let Manifest { weights, .. } = &bundle.manifest;
        let files: BTreeSet<&str> = weights.values().map(|entry| entry.file.as_str()).collect();
        let parts = ["connector", "embed", "llm", "vision"];
        assert!(files.iter().copied().eq(parts.map(|part| format!("{part}.safetensors"))));
        for file in files {
            let bytes = fs::read(folder.path().join("bundle").join(file)).unwrap();
            let tensors = SafeTensors::deserialize(&bytes).unwrap();
            for (name, tensor) in tensors.tensors() {
                let start = tensor.data().as_ptr() as usize - bytes.as_ptr() as usize;
                if name.starts_with("__padding__.") {
                    assert!(tensor.data().iter().all(|byte| *byte == 0));
                    continue;
                }
                let entry = &weights[&name];
                assert_eq!((entry.offset, &*entry.shape), (start as u64, tensor.shape()), "{name}");
                assert_eq!(entry.offset % WEIGHT_ALIGNMENT, 0, "{name}");
            }
        }
    }
}

#[test]
fn joined_projections_hold_the_matrices_as_the_checkpoint_has_them_one_below_the_other() {
    let (folder, bundle) = bundle("mistral-moe", "tensorrt");
    let original = fs::read(golden("mistral-moe").join("model.safetensors")).unwrap();
    let original = SafeTensors::deserialize(&original).unwrap();
    let vision = fs::read(folder.path().join("bundle/vision.safetensors")).unwrap();
    let vision = SafeTensors::deserialize(&vision).unwrap();
    let module = "model.vision_tower.vision_model.encoder.layers.1.self_attn";
    let joined = vision.tensor(&format!("{module}.qkv_proj.weight")).unwrap();
    let bias = vision.tensor(&format!("{module}.qkv_proj.bias")).unwrap();
    assert_eq!((joined.dtype(), bias.dtype()), (Dtype::F16, Dtype::F32));
    let (halves, _) = joined.data().as_chunks::<2>();
    let (singles, _) = bias.data().as_chunks::<4>();
    let [rows, columns] = joined.shape() else { panic!("{:?}", joined.shape()) };
    let mut first = 0;
    for part in ["q_proj", "k_proj", "v_proj"] {
        let (shape, values) = numbers(&original, &format!("{module}.{part}.weight"));
        for (index, value) in values.iter().enumerate() {
            let half = halves[first * columns + index];
            assert_eq!(half, f16::from_f32(*value).to_le_bytes(), "{part} {index}");
        }
        let (_, values) = numbers(&original, &format!("{module}.{part}.bias"));
        for (index, value) in values.iter().enumerate() {
            assert_eq!(singles[first + index], value.to_le_bytes());
        }
        assert_eq!(shape[1], *columns);
        first += shape[0];
    }
    assert_eq!((first, singles.len()), (*rows, *rows));
    assert!(bundle.manifest.plan.cache.iter().all(|slot| slot.update == CacheUpdate::InPlace));
}

#[test]
fn what_a_target_cannot_be_is_said_and_nothing_is_written() {
    for (arguments, words) in [
        (["--target", "tensorrt", "--dtype", "f32"], "target tensorrt is f16 alone"),
        (["--target", "tensorrt-10.3", "--dtype", "f32"], "target tensorrt-10.3 is f16 alone"),
        (["--target", "ort-cpu", "--moe", "function"], "--moe is for tensorrt and tensorrt-10.3"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let output = export(&golden("mistral-dense"), &folder.path().join("bundle"), &arguments);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
        assert!(names(folder.path()).is_empty(), "something was left behind");
    }
}
