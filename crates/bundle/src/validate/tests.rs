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
        tokenizer: None,
        template: PromptTemplate::MistralInstruct,
    }
}

fn problems_after(change: impl FnOnce(&mut Manifest)) -> String {
    let mut manifest = manifest();
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
