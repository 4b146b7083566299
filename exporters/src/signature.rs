//! Graphs as the manifest describes them, and the plan that runs them.

use std::collections::HashMap;

use cumo_bundle::{Binding, CacheSlot, CacheUpdate, Dim, Dtype, Graph, Plan, Step, Value, names};
use cumo_checkpoint::LlmConfig;
use cumo_onnx::DType;

use crate::layered::Kind;
use crate::part::{Part, PartName};

/// The manifest's entry of a part's graph.
pub(crate) fn graph(part: &Part) -> Graph {
    entry(part.name.graph_file(), None, &part.graph)
}

/// The manifest's entry of a kind of layer.
pub(crate) fn kind(kind: &Kind) -> Graph {
    entry(kind.file(), kind.twin.as_ref().map(|_| kind.twin_file()), &kind.graph)
}

fn entry(file: String, twin: Option<String>, graph: &cumo_onnx::Graph) -> Graph {
    Graph {
        file,
        twin,
        inputs: graph.inputs().iter().map(value).collect(),
        outputs: graph.outputs().iter().map(value).collect(),
    }
}

fn value(value: &cumo_onnx::Value) -> Value {
    let dim = |dim: &cumo_onnx::Dim| match dim {
        cumo_onnx::Dim::Fixed(size) => Dim::Fixed(*size),
        cumo_onnx::Dim::Symbol(name) => Dim::Symbol(name.to_string()),
    };
    Value {
        name: value.name().to_owned(),
        dtype: dtype(value.dtype()),
        shape: value.shape().dims().iter().map(dim).collect(),
    }
}

/// A graph's type as the manifest calls it. Truth values are never inputs or outputs.
pub(crate) fn dtype(dtype: DType) -> Dtype {
    match dtype {
        DType::F32 => Dtype::F32,
        DType::F16 => Dtype::F16,
        DType::I64 => Dtype::I64,
        DType::I32 | DType::Bool => Dtype::I32,
    }
}

/// The plan of the four graphs: inputs and outputs bear the names of what they are bound to, but
/// for the cache, whose updated slots are called `present`.
pub(crate) fn plan(parts: &[Part], config: &LlmConfig, update: CacheUpdate) -> Plan {
    let llm = parts.iter().find(|part| part.name == PartName::Llm);
    let cache = llm.map_or(Dtype::F32, |part| part.precision.activations);
    let step = |name: PartName| -> Vec<Step> {
        parts.iter().filter(|part| part.name == name).map(|part| bind(part, config)).collect()
    };
    let positions = match update {
        CacheUpdate::Append => names::PAST_SEQUENCE,
        CacheUpdate::InPlace | CacheUpdate::Rows => names::MAX_SEQUENCE,
    };
    Plan {
        cache: cache_slots(config, cache, update, positions),
        encode_images: [step(PartName::Vision), step(PartName::Connector)].concat(),
        embed_tokens: step(PartName::Embed),
        decode: step(PartName::Llm),
        attended: Vec::new(),
    }
}

fn bind(part: &Part, config: &LlmConfig) -> Step {
    let slot_of: HashMap<String, String> = (0..config.num_hidden_layers)
        .flat_map(|layer| {
            let (key, value) = (names::past_key(layer), names::past_value(layer));
            [
                (key.clone(), key.clone()),
                (names::present_key(layer), key),
                (value.clone(), value.clone()),
                (names::present_value(layer), value),
            ]
        })
        .collect();
    let binding = |value: &cumo_onnx::Value| {
        let name = value.name().to_owned();
        let binding = match slot_of.get(&name) {
            Some(slot) => Binding::Cache(slot.clone()),
            None => Binding::Activation(name.clone()),
        };
        (name, binding)
    };
    Step {
        graph: part.name.name().to_owned(),
        inputs: part.graph.inputs().iter().map(binding).collect(),
        outputs: part.graph.outputs().iter().map(binding).collect(),
    }
}

/// A slot for the keys and one for the values of every layer, whose positions the symbol `positions`
/// stands for.
pub(crate) fn cache_slots(
    config: &LlmConfig,
    dtype: Dtype,
    update: CacheUpdate,
    positions: &str,
) -> Vec<CacheSlot> {
    let shape = vec![
        Dim::Symbol(names::BATCH.to_owned()),
        Dim::Fixed(config.num_key_value_heads),
        Dim::Symbol(positions.to_owned()),
        Dim::Fixed(config.head_dim),
    ];
    (0..config.num_hidden_layers)
        .flat_map(|layer| [names::past_key(layer), names::past_value(layer)])
        .map(|name| CacheSlot { name, dtype, shape: shape.clone(), update })
        .collect()
}
