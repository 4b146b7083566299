use std::collections::BTreeMap;

use super::*;
use crate::manifest::*;
use crate::model::*;
use crate::plan::*;

fn value(name: &str, dtype: Dtype, shape: &[&str]) -> Value {
    let dim = |text: &&str| match text.parse() {
        Ok(size) => Dim::Fixed(size),
        Err(_) => Dim::Symbol((*text).to_owned()),
    };
    Value { name: name.to_owned(), dtype, shape: shape.iter().map(dim).collect() }
}

fn step(graph: &str, inputs: &[&str], outputs: &[&str]) -> Step {
    let bind = |name: &&str| {
        let binding = match name.strip_prefix("present.") {
            Some(rest) => Binding::Cache(format!("past_key_values.{rest}")),
            None if name.starts_with("past_") => Binding::Cache((*name).to_owned()),
            None => Binding::Activation((*name).to_owned()),
        };
        ((*name).to_owned(), binding)
    };
    Step {
        graph: graph.to_owned(),
        inputs: inputs.iter().map(bind).collect(),
        outputs: outputs.iter().map(bind).collect(),
    }
}

fn graph(name: &str, inputs: Vec<Value>, outputs: Vec<Value>) -> (String, Graph) {
    (name.to_owned(), Graph { file: format!("{name}.onnx"), twin: None, inputs, outputs })
}

/// A consistent manifest whose four files have four bytes each.
pub(crate) fn manifest() -> Manifest {
    let f32 = Dtype::F32;
    let graphs = [
        graph(
            "vision",
            vec![value("pixel_values", f32, &["images", "3", "28", "28"])],
            vec![value("image_features", f32, &["images", "4", "8"])],
        ),
        graph(
            "connector",
            vec![value("image_features", f32, &["images", "4", "8"])],
            vec![value("image_embeds", f32, &["images", "4", "16"])],
        ),
        graph(
            "embed",
            vec![value("input_ids", Dtype::I64, &["batch", "sequence"])],
            vec![value("inputs_embeds", f32, &["batch", "sequence", "16"])],
        ),
        graph(
            "llm",
            vec![
                value("inputs_embeds", f32, &["batch", "sequence", "16"]),
                value("past_key_values.0.key", f32, &["batch", "2", "past_sequence", "8"]),
            ],
            vec![
                value("logits", f32, &["batch", "sequence", "32"]),
                value("present.0.key", f32, &["batch", "2", "total_sequence", "8"]),
            ],
        ),
    ];
    let slot = value("past_key_values.0.key", f32, &["batch", "2", "past_sequence", "8"]);
    Manifest {
        format: FORMAT.to_owned(),
        format_version: FORMAT_VERSION,
        producer: "test".to_owned(),
        target: Target::Onnx,
        precision: ["vision", "connector", "embed", "llm"]
            .map(|part| (part.to_owned(), PartPrecision { weights: f32, activations: f32 }))
            .into(),
        model: facts(),
        graphs: graphs.into(),
        plan: Plan {
            cache: vec![CacheSlot {
                name: slot.name,
                dtype: slot.dtype,
                shape: slot.shape,
                update: CacheUpdate::Append,
            }],
            encode_images: vec![
                step("vision", &["pixel_values"], &["image_features"]),
                step("connector", &["image_features"], &["image_embeds"]),
            ],
            embed_tokens: vec![step("embed", &["input_ids"], &["inputs_embeds"])],
            attended: Vec::new(),
            decode: vec![step(
                "llm",
                &["inputs_embeds", "past_key_values.0.key"],
                &["logits", "present.0.key"],
            )],
        },
        weights: BTreeMap::new(),
        files: ["vision.onnx", "connector.onnx", "embed.onnx", "llm.onnx"]
            .map(|name| (name.to_owned(), FileEntry { bytes: 4, sha256: "0".repeat(64) }))
            .into(),
    }
}

/// The same with an LLM of two layers that share a graph, weights as inputs and a ladder.
pub(crate) fn layered() -> Manifest {
    let mut manifest = manifest();
    manifest.target = Target::Tensorrt;
    manifest.files.insert("llm.weights".to_owned(), entry(3 * WEIGHT_ALIGNMENT));
    manifest.files.insert("decoder_layer.twin.onnx".to_owned(), entry(4));
    let (f32, f16, i64) = (Dtype::F32, Dtype::F16, Dtype::I64);
    let hidden = value("hidden_states", f32, &["batch", "sequence", "16"]);
    let cache = value("past_key", f16, &["batch", "2", "max_sequence", "8"]);
    let mask = value("attention_bias", f32, &["1", "1", "sequence", "attended"]);
    let weight = value("weight", f16, &["16", "16"]);
    let graphs = [
        graph(
            "decoder_inputs",
            vec![
                value("position_ids", i64, &["batch", "sequence"]),
                value("cache_positions", i64, &["attended"]),
            ],
            vec![mask.clone()],
        ),
        graph(
            "decoder_layer",
            vec![
                hidden.clone(),
                mask,
                value("write_indices", i64, &["batch"]),
                cache.clone(),
                weight,
            ],
            vec![hidden.clone(), value("present_key", f16, &["batch", "2", "max_sequence", "8"])],
        ),
        graph("head", vec![hidden], vec![value("logits", f32, &["batch", "1", "32"])]),
    ];
    manifest.graphs.remove("llm");
    for (name, graph) in graphs {
        manifest.files.insert(graph.file.clone(), entry(4));
        manifest.graphs.insert(name, graph);
    }
    let layer_graph = manifest.graphs.get_mut("decoder_layer").unwrap();
    layer_graph.twin = Some("decoder_layer.twin.onnx".to_owned());
    manifest.weights = [0, 1]
        .map(|layer| {
            let file = "llm.weights".to_owned();
            let offset = (1 + layer) * WEIGHT_ALIGNMENT;
            let entry = WeightEntry { file, offset, dtype: f16, shape: vec![16, 16] };
            (format!("layers.{layer}.weight"), entry)
        })
        .into();
    let slot = |layer| CacheSlot {
        name: format!("past_key_values.{layer}.key"),
        dtype: f16,
        shape: cache.shape.clone(),
        update: CacheUpdate::InPlace,
    };
    manifest.plan.cache = vec![slot(0), slot(1)];
    manifest.plan.attended = vec![16, 64];
    manifest.plan.decode = vec![
        step("decoder_inputs", &["position_ids", "cache_positions"], &["attention_bias"]),
        layer(0),
        layer(1),
        step("head", &["hidden_states"], &["logits"]),
    ];
    rebind(&mut manifest.plan.decode[3].inputs, "hidden_states", "hidden_states.0");
    manifest
}

/// The same with caches whose rows lie a rung apart.
pub(crate) fn layered_by_rung() -> Manifest {
    let mut manifest = layered();
    let layer = manifest.graphs.get_mut("decoder_layer").unwrap();
    let values = layer.inputs.iter_mut().chain(&mut layer.outputs).map(|value| &mut value.shape);
    let slots = manifest.plan.cache.iter_mut().map(|slot| &mut slot.shape);
    for dim in values.chain(slots).flatten() {
        if *dim == Dim::Symbol(names::MAX_SEQUENCE.to_owned()) {
            *dim = Dim::Symbol(names::ATTENDED.to_owned());
        }
    }
    manifest
}

/// One layer's step.
fn layer(layer: usize) -> Step {
    let inputs = ["hidden_states", "attention_bias", "write_indices"];
    let mut step = step("decoder_layer", &inputs, &["hidden_states"]);
    let (read, made) = match layer {
        0 => ("inputs_embeds".to_owned(), "hidden_states.1".to_owned()),
        _ => (format!("hidden_states.{}", layer % 2), format!("hidden_states.{}", 1 - layer % 2)),
    };
    rebind(&mut step.inputs, "hidden_states", &read);
    rebind(&mut step.outputs, "hidden_states", &made);
    let slot = Binding::Cache(format!("past_key_values.{layer}.key"));
    step.inputs.insert("past_key".to_owned(), slot.clone());
    step.outputs.insert("present_key".to_owned(), slot);
    let weight = Binding::Weight(format!("layers.{layer}.weight"));
    step.inputs.insert("weight".to_owned(), weight);
    step
}

fn rebind(bindings: &mut BTreeMap<String, Binding>, port: &str, activation: &str) {
    bindings.insert(port.to_owned(), Binding::Activation(activation.to_owned()));
}

fn entry(bytes: u64) -> FileEntry {
    FileEntry { bytes, sha256: "0".repeat(64) }
}

fn facts() -> ModelFacts {
    ModelFacts {
        name: "test".to_owned(),
        model_type: "llava_mistral".to_owned(),
        image: ImageFacts {
            size: 28,
            aspect_ratio: AspectRatio::Pad,
            mean: [0.5; 3],
            std: [0.5; 3],
        },
        vision: VisionFacts {
            scales: vec![1],
            image_tokens: 4,
            hidden_size: 8,
            num_layers: 1,
            moe: Some(MoeFacts { num_experts: 4, num_experts_per_tok: 2 }),
            connector_moe: None,
        },
        llm: LlmFacts {
            vocab_size: 32,
            hidden_size: 16,
            num_layers: 1,
            num_attention_heads: 2,
            num_key_value_heads: 2,
            head_dim: 8,
            context_length: 64,
            sliding_window: None,
            moe: None,
            bos_token_id: 1,
            eos_token_ids: vec![2],
        },
        layers: None,
        tokenizer: None,
        template: PromptTemplate::MistralInstruct,
    }
}

pub(crate) fn problems_after(change: impl FnOnce(&mut Manifest)) -> String {
    let mut manifest = manifest();
    change(&mut manifest);
    problems(&manifest).join("; ")
}

fn layered_problems_after(change: impl FnOnce(&mut Manifest)) -> String {
    let mut manifest = layered();
    change(&mut manifest);
    problems(&manifest).join("; ")
}

#[test]
fn a_consistent_manifest_has_no_problems() {
    assert_eq!(problems_after(|_| ()), "");
}

#[test]
fn a_file_outside_the_bundle_is_named() {
    for name in ["../weights", "/etc/passwd", "a/../../b", ""] {
        let found = problems_after(|m| {
            let entry = m.files["llm.onnx"].clone();
            m.files.insert(name.to_owned(), entry);
        });
        assert_eq!(found, format!("file `{name}` is not a path inside the bundle"));
    }
}

#[test]
fn a_plan_that_reads_what_is_not_made_is_named() {
    let found = problems_after(|m| m.plan.encode_images.reverse());
    assert!(found.contains("step `connector`: reads `image_features` before"), "{found}");
}

#[test]
fn unknown_graphs_inputs_outputs_and_slots_are_named_all_at_once() {
    let found = problems_after(|m| {
        m.plan.embed_tokens[0].graph = "embedding".to_owned();
        m.plan.decode.push(step("llm", &["typo"], &["typo2"]));
        m.plan.cache.clear();
    });
    for part in [
        "step `embedding`: there is no such graph",
        "EmbedTokens never makes `inputs_embeds`",
        "the graph has no input `typo`",
        "the graph has no output `typo2`",
        "input `inputs_embeds` is not bound",
        "there is no cache slot `past_key_values.0.key`",
    ] {
        assert!(found.contains(part), "{part} not in {found}");
    }
}

#[test]
fn a_change_of_type_between_steps_is_named() {
    let found = problems_after(|m| {
        m.graphs.get_mut("vision").unwrap().outputs[0].dtype = Dtype::F16;
    });
    assert!(found.contains("`image_features` is f16, the input wants f32"), "{found}");
}

#[test]
fn a_change_of_shape_between_steps_is_named() {
    let found = problems_after(|m| {
        m.graphs.get_mut("connector").unwrap().inputs[0].shape[1] = Dim::Fixed(5);
        m.graphs.get_mut("llm").unwrap().outputs[1].shape[3] = Dim::Fixed(9);
    });
    for part in [
        "step `connector`: `image_features` is [images, 4, 8], the input wants [images, 5, 8]",
        "step `llm`: `present.0.key` (f32 [batch, 2, total_sequence, 9]) does not fit cache slot",
    ] {
        assert!(found.contains(part), "{part} not in {found}");
    }
}

#[test]
fn absurd_numbers_are_named() {
    let found = problems_after(|m| {
        m.model.llm.vocab_size = 0;
        m.model.image.size = 1 << 31;
        m.model.image.std[1] = 0.0;
        m.plan.cache[0].shape[1] = Dim::Fixed(usize::MAX);
        m.plan.cache[0].shape[2] = Dim::Symbol("whatever".to_owned());
    });
    for part in [
        "llm.vocab_size is 0",
        "image.size is 2147483648",
        "std not zero",
        "absurd shape",
        "`past_sequence` once",
    ] {
        assert!(found.contains(part), "{part} not in {found}");
    }
}

#[test]
fn a_consistent_layered_manifest_has_no_problems() {
    assert_eq!(layered_problems_after(|_| ()), "");
}

#[test]
fn a_weight_outside_its_file_is_named_with_its_numbers() {
    let after = |change: fn(&mut WeightEntry)| {
        layered_problems_after(|m| change(m.weights.get_mut("layers.1.weight").unwrap()))
    };
    let outside = "weight `layers.1.weight`: f16 [16, 16] from byte 12288 does not fit into the 12288 bytes of `llm.weights`";
    assert_eq!(after(|w| w.offset = 12288), outside);
    assert!(after(|w| w.offset = u64::MAX - 4095).contains("does not fit"));
    let found = after(|w| w.shape = vec![1 << 32, 1 << 32, 1 << 32]);
    assert!(found.contains("does not fit"), "{found}");
    assert_eq!(
        after(|w| w.offset = 4100),
        "weight `layers.1.weight` starts at byte 4100, which is not a multiple of 4096"
    );
    assert!(after(|w| w.shape = vec![16, 0]).contains("absurd shape, [16, 0]"));
    assert_eq!(
        after(|w| w.file = "gone".to_owned()),
        "weight `layers.1.weight`: `gone` is not among the files"
    );
}

#[test]
fn a_weight_of_another_type_or_shape_than_the_input_is_named() {
    let found = layered_problems_after(|m| {
        m.weights.get_mut("layers.0.weight").unwrap().dtype = Dtype::F32;
        m.weights.get_mut("layers.1.weight").unwrap().shape = vec![16, 8];
    });
    for part in [
        "weight `layers.0.weight` is f32 [16, 16], the input `weight` wants f16 [16, 16]",
        "weight `layers.1.weight` is f16 [16, 8], the input `weight` wants f16 [16, 16]",
    ] {
        assert!(found.contains(part), "{part} not in {found}");
    }
    let found = layered_problems_after(|m| {
        m.weights.remove("layers.0.weight");
        let weight = Binding::Weight("layers.1.weight".to_owned());
        m.plan.decode[3].outputs.insert("logits".to_owned(), weight);
    });
    assert!(found.contains("there is no weight `layers.0.weight`"), "{found}");
    assert!(found.contains("makes `layers.1.weight`, which is a weight"), "{found}");
}

#[test]
fn a_step_that_makes_what_it_reads_or_is_given_is_named() {
    let found = layered_problems_after(|m| {
        rebind(&mut m.plan.decode[2].outputs, "hidden_states", "hidden_states.1");
        rebind(&mut m.plan.decode[0].outputs, "attention_bias", "attention_mask");
    });
    for part in [
        "step `decoder_layer`: makes `hidden_states.1`, which it reads",
        "step `decoder_inputs`: makes `attention_mask`, which is given to it",
    ] {
        assert!(found.contains(part), "{part} not in {found}");
    }
}

#[test]
fn two_outputs_of_one_place_and_a_change_of_type_are_named() {
    let found = layered_problems_after(|m| {
        m.graphs.get_mut("head").unwrap().outputs.push(value("more", Dtype::F16, &["1"]));
        rebind(&mut m.plan.decode[3].outputs, "more", "logits");
    });
    assert!(found.contains("output `more` is bound to what another one makes"), "{found}");
    assert!(found.contains("makes `logits` of f"), "{found}");
}

#[test]
fn a_ladder_that_does_not_rise_to_the_context_is_named() {
    for ladder in [vec![0, 64], vec![16, 16, 64], vec![16, 32], vec![16, 128]] {
        let found = layered_problems_after(|m| m.plan.attended.clone_from(&ladder));
        let wanted = format!(
            "plan.attended must rise from above 0 to the context's 64 positions, it is {ladder:?}"
        );
        assert_eq!(found, wanted);
    }
    let found = layered_problems_after(|m| m.plan.attended.clear());
    assert_eq!(found, "graph `decoder_inputs` has the size `attended`, and plan.attended is empty");
}

#[test]
fn a_twin_that_is_no_other_file_is_named() {
    for twin in ["gone.onnx", "decoder_layer.onnx"] {
        let found = layered_problems_after(|m| {
            m.graphs.get_mut("decoder_layer").unwrap().twin = Some(twin.to_owned());
        });
        let wanted = format!("graph `decoder_layer`: its twin `{twin}` is no other of the files");
        assert_eq!(found, wanted);
    }
}

#[test]
fn a_slot_may_be_as_long_as_a_pass_looks() {
    assert_eq!(problems(&layered_by_rung()), [""; 0]);
    let mut other = layered_by_rung();
    other.plan.cache[0].shape[2] = Dim::Symbol(names::MAX_SEQUENCE.to_owned());
    let found = problems(&other).join("; ");
    let part = "`past_key` (f16 [batch, 2, attended, 8]) does not fit cache slot \
                `past_key_values.0.key` (f16 [batch, 2, max_sequence, 8])";
    assert!(found.contains(part), "{found}");
    other.plan.cache[0].shape[2] = Dim::Symbol(names::PAST_SEQUENCE.to_owned());
    let found = problems(&other).join("; ");
    let part = "its shape must have the symbol `max_sequence` or `attended` once";
    assert!(found.contains(part), "{found}");
}

#[test]
fn a_slot_must_fit_inputs_and_outputs_in_the_way_of_its_update() {
    assert_eq!(
        layered_problems_after(|m| {
            m.plan.cache.iter_mut().for_each(|slot| slot.update = CacheUpdate::Rows);
            let layer = m.graphs.get_mut("decoder_layer").unwrap();
            layer.outputs[1].shape[2] = Dim::Symbol("sequence".to_owned());
        }),
        ""
    );
    let found = layered_problems_after(|m| {
        m.plan.cache.iter_mut().for_each(|slot| slot.update = CacheUpdate::Rows);
    });
    let part = "`present_key` (f16 [batch, 2, max_sequence, 8]) does not fit cache slot \
                `past_key_values.1.key` (f16 [batch, 2, sequence, 8])";
    assert!(found.contains(part), "{found}");
    let found = layered_problems_after(|m| m.plan.cache[0].shape[3] = Dim::Fixed(4));
    assert!(
        found.contains("`past_key` (f16 [batch, 2, max_sequence, 8]) does not fit cache slot"),
        "{found}"
    );
}
