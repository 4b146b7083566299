//! The bundle, made by hand: graphs, a file of weights, a plan.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use cumo_bundle::*;
use cumo_onnx::{Attention, DType, Error, GraphBuilder, Opset, To, dims};

use crate::reference::{
    CONTEXT, HEAD_DIM, HEADS, HIDDEN, KV_HEADS, LAYERS, PIXELS, SLOPE, VOCAB, Weights,
};

/// Cache lengths.
pub(crate) const LADDER: [usize; 2] = [8, CONTEXT];

/// The file of weights.
pub(crate) const WEIGHTS_FILE: &str = "llm.weights";

/// What a layer does with its cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Writes into it with TensorScatter; its rows lie a rung apart.
    InPlace,
    /// Gives the new rows; its own lie a rung apart.
    Rows,
    /// Writes into it with TensorScatter, and takes a part of it.
    WholeInPlace,
    /// Gives the new rows, and takes a part of it.
    WholeRows,
}

impl Form {
    pub(crate) const ALL: [Form; 4] =
        [Form::InPlace, Form::Rows, Form::WholeInPlace, Form::WholeRows];

    fn update(self) -> CacheUpdate {
        match self {
            Form::InPlace | Form::WholeInPlace => CacheUpdate::InPlace,
            Form::Rows | Form::WholeRows => CacheUpdate::Rows,
        }
    }

    /// The symbol that stands for the positions of the cache.
    fn positions(self) -> &'static str {
        match self {
            Form::InPlace | Form::Rows => "attended",
            Form::WholeInPlace | Form::WholeRows => "max_sequence",
        }
    }
}

/// Writes the bundle. `change` may spoil the manifest first.
pub(crate) fn write(
    path: &Path,
    form: Form,
    weights: &Weights,
    change: impl FnOnce(&mut Manifest),
) {
    let mut writer = BundleWriter::create(path, false).unwrap();
    let mut graphs = BTreeMap::new();
    let builders: [(&str, GraphBuilder); 5] = [
        ("vision", vision().unwrap()),
        ("embed_tokens", embed_tokens().unwrap()),
        ("decoder_inputs", decoder_inputs().unwrap()),
        ("decoder_layer", decoder_layer(form).unwrap()),
        ("head", head().unwrap()),
    ];
    for (name, builder) in builders {
        let graph = builder.finish();
        let bytes = graph.encode(name, "none", ("test", "0"));
        // Where a layer's graph has a twin, ONNX Runtime must not even look at the graph itself.
        let twin = (name == "decoder_layer").then(|| format!("{name}.functions.onnx"));
        let file = format!("{name}.onnx");
        if let Some(twin) = &twin {
            write_file(&mut writer, twin, &bytes);
            write_file(&mut writer, &file, b"not ONNX");
        } else {
            write_file(&mut writer, &file, &bytes);
        }
        let values = |values: &[cumo_onnx::Value]| values.iter().map(value).collect();
        let (inputs, outputs) = (values(graph.inputs()), values(graph.outputs()));
        graphs.insert(name.to_owned(), Graph { file, twin, inputs, outputs });
    }
    let entries = write_weights(&mut writer, weights);
    let mut manifest = Manifest {
        format: FORMAT.to_owned(),
        format_version: FORMAT_VERSION,
        producer: "test".to_owned(),
        target: Target::Tensorrt,
        precision: BTreeMap::new(),
        model: facts(),
        plan: plan(form, &graphs),
        graphs,
        weights: entries,
        files: BTreeMap::new(),
    };
    change(&mut manifest);
    writer.finish(manifest).unwrap();
}

fn write_file(writer: &mut BundleWriter, name: &str, bytes: &[u8]) {
    writer
        .write_file(name, |out| out.write_all(bytes).map_err(|e| cumo_bundle::Error::io(name, e)))
        .unwrap();
}

/// One after the other, each at the start of a page.
fn write_weights(writer: &mut BundleWriter, weights: &Weights) -> BTreeMap<String, WeightEntry> {
    let mut bytes = Vec::new();
    let mut entries = BTreeMap::new();
    for (name, (shape, values)) in &weights.0 {
        bytes.resize(bytes.len().next_multiple_of(WEIGHT_ALIGNMENT as usize), 0xa5);
        let offset = bytes.len() as u64;
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        let (file, shape) = (WEIGHTS_FILE.to_owned(), shape.clone());
        entries.insert(name.clone(), WeightEntry { file, offset, dtype: Dtype::F32, shape });
    }
    write_file(writer, WEIGHTS_FILE, &bytes);
    entries
}

fn vision() -> Result<GraphBuilder, Error> {
    let mut g = GraphBuilder::with_opset(Opset::V24);
    let pixels = g.input("pixel_values", DType::F32, dims!["images", 3, 2, 2])?;
    let weight = g.input("weight", DType::F32, dims![PIXELS, HIDDEN])?;
    let flat = g.reshape(&pixels, &[To::Keep, To::Size(1), To::Size(PIXELS)])?;
    let embeds = g.matmul(&flat, &weight)?;
    g.output("image_embeds", &embeds, DType::F32, dims!["images", 1, HIDDEN])?;
    Ok(g)
}

fn embed_tokens() -> Result<GraphBuilder, Error> {
    let mut g = GraphBuilder::with_opset(Opset::V24);
    let ids = g.input("input_ids", DType::I64, dims!["batch", "sequence"])?;
    let weight = g.input("weight", DType::F32, dims![VOCAB, HIDDEN])?;
    let embeds = g.gather_rows(&weight, &ids)?;
    g.output("inputs_embeds", &embeds, DType::F32, dims!["batch", "sequence", HIDDEN])?;
    Ok(g)
}

/// A mask that grows with the distance, so that a row in the wrong place of the cache is noticed.
fn decoder_inputs() -> Result<GraphBuilder, Error> {
    let mut g = GraphBuilder::with_opset(Opset::V24);
    let positions = g.input("position_ids", DType::I64, dims!["batch", "sequence"])?;
    let cached = g.input("cache_positions", DType::I64, dims!["attended"])?;
    let positions = g.unsqueeze(&positions, &[1, 3])?;
    let visible = g.less_or_equal(&cached, &positions)?;
    let distance = g.sub(&cached, &positions)?;
    let distance = g.cast(&distance, DType::F32);
    let near = g.scale(&distance, SLOPE)?;
    let never = g.scalar(DType::F32, -1e9);
    let mask = g.select(&visible, &near, &never)?;
    g.output("mask", &mask, DType::F32, dims!["batch", 1, "sequence", "attended"])?;
    Ok(g)
}

fn decoder_layer(form: Form) -> Result<GraphBuilder, Error> {
    let mut g = GraphBuilder::with_opset(Opset::V24);
    let shape = dims!["batch", "sequence", HIDDEN];
    let states = g.input("states", DType::F32, shape.clone())?;
    let mask = g.input("mask", DType::F32, dims!["batch", 1, "sequence", "attended"])?;
    let write_indices = g.input("write_indices", DType::I64, dims!["batch"])?;
    let query = heads(&mut g, &states, "query", HEADS)?;
    let mut cached = |name: &str| {
        let new = heads(&mut g, &states, name, KV_HEADS)?;
        let shape = dims!["batch", KV_HEADS, form.positions(), HEAD_DIM];
        let cache = g.input(&format!("past_{name}"), DType::F32, shape.clone())?;
        let attended = |g: &mut GraphBuilder, cache: cumo_onnx::Value| match form {
            Form::InPlace | Form::Rows => Ok(cache),
            Form::WholeInPlace | Form::WholeRows => {
                let end = g.size_of(&mask, 3)?;
                g.slice_at(&cache, 2, (&end, false), "attended".into())
            }
        };
        let present = format!("present_{name}");
        match form.update() {
            CacheUpdate::Rows => {
                let rows = dims!["batch", KV_HEADS, "sequence", HEAD_DIM];
                g.output(&present, &new, DType::F32, rows)?;
                let cache = attended(&mut g, cache)?;
                g.tensor_scatter(&cache, &new, &write_indices)
            }
            CacheUpdate::InPlace | CacheUpdate::Append => {
                let cache = g.tensor_scatter(&cache, &new, &write_indices)?;
                g.output(&present, &cache, DType::F32, shape)?;
                attended(&mut g, cache)
            }
        }
    };
    let (key, value) = (cached("key")?, cached("value")?);
    let mixed = g.attention(&Attention {
        query: &query,
        key: &key,
        value: &value,
        mask: Some(&mask),
        scale: (HEAD_DIM as f32).sqrt().recip(),
    })?;
    let mixed = g.transpose(&mixed, &[0, 2, 1, 3])?;
    let mixed = g.reshape(&mixed, &[To::Keep, To::Keep, To::Size(HIDDEN)])?;
    let next = g.add_values(&states, &mixed)?;
    g.output("next_states", &next, DType::F32, shape)?;
    Ok(g)
}

/// `states` times the weight of this name, `[batch, heads, sequence, head_dim]`.
fn heads(
    g: &mut GraphBuilder,
    states: &cumo_onnx::Value,
    weight: &str,
    heads: usize,
) -> Result<cumo_onnx::Value, Error> {
    let weight = g.input(weight, DType::F32, dims![HIDDEN, heads * HEAD_DIM])?;
    let x = g.matmul(states, &weight)?;
    let x = g.reshape(&x, &[To::Keep, To::Keep, To::Size(heads), To::Size(HEAD_DIM)])?;
    g.transpose(&x, &[0, 2, 1, 3])
}

fn head() -> Result<GraphBuilder, Error> {
    let mut g = GraphBuilder::with_opset(Opset::V24);
    let states = g.input("states", DType::F32, dims!["batch", "sequence", HIDDEN])?;
    let weight = g.input("weight", DType::F32, dims![HIDDEN, VOCAB])?;
    let last = g.last(&states, 1)?;
    let logits = g.matmul(&last, &weight)?;
    g.output("logits", &logits, DType::F32, dims!["batch", 1, VOCAB])?;
    Ok(g)
}

fn value(value: &cumo_onnx::Value) -> Value {
    let dim = |dim: &cumo_onnx::Dim| match dim {
        cumo_onnx::Dim::Fixed(size) => Dim::Fixed(*size),
        cumo_onnx::Dim::Symbol(name) => Dim::Symbol(name.to_string()),
    };
    let dtype = if value.dtype() == DType::I64 { Dtype::I64 } else { Dtype::F32 };
    let shape = value.shape().dims().iter().map(dim).collect();
    Value { name: value.name().to_owned(), dtype, shape }
}

fn plan(form: Form, graphs: &BTreeMap<String, Graph>) -> Plan {
    let states = |layer: usize| match layer {
        0 => "inputs_embeds".to_owned(),
        layer => format!("states.{}", layer % 2),
    };
    let layer = |layer: usize| {
        let weight = |name: &str| (name.to_owned(), format!("layers.{layer}.{name}"));
        let slot = |name: &str| (format!("past_{name}"), format!("past.{layer}.{name}"));
        let mut step = step(graphs, "decoder_layer", &["query", "key", "value"].map(weight));
        for (port, slot) in ["key", "value"].map(slot) {
            let present = port.replace("past", "present");
            step.inputs.insert(port, Binding::Cache(slot.clone()));
            step.outputs.insert(present, Binding::Cache(slot));
        }
        step.inputs.insert("states".to_owned(), Binding::Activation(states(layer)));
        step.outputs.insert("next_states".to_owned(), Binding::Activation(states(layer + 1)));
        step
    };
    let one = |name: &str| [("weight".to_owned(), name.to_owned())];
    let mut head = step(graphs, "head", &one("head"));
    head.inputs.insert("states".to_owned(), Binding::Activation(states(LAYERS)));
    let inputs = step(graphs, "decoder_inputs", &[]);
    let slot = |(layer, name): (usize, &str)| CacheSlot {
        name: format!("past.{layer}.{name}"),
        dtype: Dtype::F32,
        shape: graphs["decoder_layer"]
            .inputs
            .iter()
            .find(|v| v.name == "past_key")
            .unwrap()
            .shape
            .clone(),
        update: form.update(),
    };
    let slots = (0..LAYERS).flat_map(|layer| [(layer, "key"), (layer, "value")]);
    Plan {
        cache: slots.map(slot).collect(),
        encode_images: vec![step(graphs, "vision", &one("vision"))],
        embed_tokens: vec![step(graphs, "embed_tokens", &one("embed"))],
        decode: [inputs].into_iter().chain((0..LAYERS).map(layer)).chain([head]).collect(),
        attended: LADDER.to_vec(),
    }
}

/// A step whose inputs and outputs are activations of their names, but for weights.
fn step(graphs: &BTreeMap<String, Graph>, graph: &str, weights: &[(String, String)]) -> Step {
    let bind = |value: &Value| (value.name.clone(), Binding::Activation(value.name.clone()));
    let mut inputs: BTreeMap<_, _> = graphs[graph].inputs.iter().map(bind).collect();
    for (port, weight) in weights {
        inputs.insert(port.clone(), Binding::Weight(weight.clone()));
    }
    let outputs = graphs[graph].outputs.iter().map(bind).collect();
    Step { graph: graph.to_owned(), inputs, outputs }
}

fn facts() -> ModelFacts {
    ModelFacts {
        name: "by-hand".to_owned(),
        model_type: "llava_mistral".to_owned(),
        image: ImageFacts {
            size: 2,
            aspect_ratio: AspectRatio::Pad,
            mean: [0.0; 3],
            std: [1.0; 3],
        },
        vision: VisionFacts {
            scales: vec![1],
            image_tokens: 1,
            hidden_size: HIDDEN,
            num_layers: 1,
            moe: None,
            connector_moe: None,
        },
        llm: LlmFacts {
            vocab_size: VOCAB,
            hidden_size: HIDDEN,
            num_layers: LAYERS,
            num_attention_heads: HEADS,
            num_key_value_heads: KV_HEADS,
            head_dim: HEAD_DIM,
            context_length: CONTEXT,
            sliding_window: None,
            moe: None,
            bos_token_id: 1,
            eos_token_ids: vec![2],
        },
        layers: None,
        tokenizer: None,
        template: PromptTemplate::Plain,
    }
}
