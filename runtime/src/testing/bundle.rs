//! The model's manifest, in several forms.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cumo_bundle::*;

use super::{CONTEXT, facts};

/// How the model is spelled: as one graph, or as layers that share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// One graph that copies its cache.
    Append,
    /// One graph that writes into its cache.
    InPlace,
    /// Two layers of one graph that write into their caches, with weights and a ladder.
    LayersInPlace,
    /// The same, but the layers give the new rows of their caches alone.
    LayersRows,
    /// [`Form::LayersInPlace`] with caches whose rows lie a rung apart.
    RungInPlace,
    /// [`Form::LayersRows`] with caches whose rows lie a rung apart.
    RungRows,
}

impl Form {
    pub(crate) const ALL: [Form; 6] = [
        Form::Append,
        Form::InPlace,
        Form::LayersInPlace,
        Form::LayersRows,
        Form::RungInPlace,
        Form::RungRows,
    ];

    fn update(self) -> CacheUpdate {
        match self {
            Form::Append => CacheUpdate::Append,
            Form::InPlace | Form::LayersInPlace | Form::RungInPlace => CacheUpdate::InPlace,
            Form::LayersRows | Form::RungRows => CacheUpdate::Rows,
        }
    }

    /// The symbols that stand for the positions of the cache as an input and as an output.
    fn positions(self) -> (&'static str, &'static str) {
        let input = match self {
            Form::Append => names::PAST_SEQUENCE,
            Form::InPlace | Form::LayersInPlace | Form::LayersRows => names::MAX_SEQUENCE,
            Form::RungInPlace | Form::RungRows => names::ATTENDED,
        };
        (input, self.update().output_positions(input))
    }

    /// Whether layers share a graph.
    pub(crate) fn is_layered(self) -> bool {
        !matches!(self, Form::Append | Form::InPlace)
    }
}

/// The lengths of the layered model's caches.
pub(crate) const LADDER: [usize; 4] = [4, 12, 32, CONTEXT];

/// The model in one form or the other.
pub(crate) fn bundle(form: Form) -> Bundle {
    let f32 = Dtype::F32;
    let features = value("image_features", f32, &["images", "3", "1"]);
    let embeds = value("image_embeds", f32, &["images", "3", "1"]);
    let inputs_embeds = value("inputs_embeds", f32, &["batch", "sequence", "1"]);
    let steps = [
        step(
            "vision",
            &[value("pixel_values", f32, &["images", "3", "2", "2"])],
            std::slice::from_ref(&features),
        ),
        step("connector", &[features], &[embeds]),
        step(
            "embed",
            &[value("input_ids", Dtype::I64, &["batch", "sequence"])],
            std::slice::from_ref(&inputs_embeds),
        ),
    ];
    let [vision, connector, embed] = steps;
    let llm = match form.is_layered() {
        true => layered_llm(form, inputs_embeds),
        false => vec![whole_llm(form, inputs_embeds)],
    };
    let slots = if form.is_layered() { vec!["past.0", "past.1"] } else { vec!["past"] };
    let update = form.update();
    let plan = Plan {
        cache: slots
            .into_iter()
            .map(|name| CacheSlot {
                name: name.to_owned(),
                dtype: f32,
                shape: value("", f32, &["batch", "2", form.positions().0, "1"]).shape,
                update,
            })
            .collect(),
        encode_images: vec![vision.2, connector.2],
        embed_tokens: vec![embed.2],
        decode: llm.iter().map(|(_, _, step)| step.clone()).collect(),
        attended: if form.is_layered() { LADDER.to_vec() } else { Vec::new() },
    };
    let graphs = [(vision.0, vision.1), (connector.0, connector.1), (embed.0, embed.1)];
    let manifest = Manifest {
        format: FORMAT.to_owned(),
        format_version: FORMAT_VERSION,
        producer: "test".to_owned(),
        target: Target::Onnx,
        precision: BTreeMap::new(),
        model: facts(),
        graphs: graphs.into_iter().chain(llm.into_iter().map(|(n, g, _)| (n, g))).collect(),
        plan,
        weights: weights(),
        files: BTreeMap::new(),
    };
    Bundle { path: PathBuf::from("nowhere"), manifest }
}

fn whole_llm(form: Form, inputs_embeds: Value) -> (String, Graph, Step) {
    let f32 = Dtype::F32;
    let positions = form.positions();
    step(
        "llm",
        &[
            inputs_embeds,
            value("attention_mask", Dtype::I64, &["batch", "total_sequence"]),
            value("position_ids", Dtype::I64, &["batch", "sequence"]),
            value("past", f32, &["batch", "2", positions.0, "1"]),
        ],
        &[
            value("logits", f32, &["batch", "sequence", "32"]),
            value("present", f32, &["batch", "2", positions.1, "1"]),
        ],
    )
}

/// Positions to a mask; a layer that hands its input on, one that sums it up; sums to logits.
fn layered_llm(form: Form, inputs_embeds: Value) -> Vec<(String, Graph, Step)> {
    let f32 = Dtype::F32;
    let positions = form.positions();
    let hidden = value("hidden", f32, &["batch", "sequence", "1"]);
    let mask = value("mask", f32, &["1", "1", "sequence", "attended"]);
    let inputs = step(
        "decoder_inputs",
        &[
            value("position_ids", Dtype::I64, &["batch", "sequence"]),
            value("cache_positions", Dtype::I64, &["attended"]),
        ],
        std::slice::from_ref(&mask),
    );
    let layer = |index: usize| {
        let mut step = step(
            "layer",
            &[
                hidden.clone(),
                mask.clone(),
                value("write_indices", Dtype::I64, &["batch"]),
                value("past", f32, &["batch", "2", positions.0, "1"]),
                value("sums", f32, &["1"]),
            ],
            &[
                value("next_hidden", f32, &["batch", "sequence", "1"]),
                value("present", f32, &["batch", "2", positions.1, "1"]),
            ],
        );
        let read = if index == 0 { &inputs_embeds.name } else { "hidden.1" };
        let made = format!("hidden.{}", 1 - index);
        let slot = Binding::Cache(format!("past.{index}"));
        let bound = &mut step.2;
        bound.inputs.insert("hidden".to_owned(), Binding::Activation(read.to_owned()));
        bound.outputs.insert("next_hidden".to_owned(), Binding::Activation(made));
        bound.inputs.insert("past".to_owned(), slot.clone());
        bound.outputs.insert("present".to_owned(), slot);
        bound.inputs.insert("sums".to_owned(), Binding::Weight(format!("sums.{index}")));
        step
    };
    let outputs = [
        value("logits", f32, &["batch", "1", "32"]),
        value("candidates", f32, &["batch", "2", "2"]),
    ];
    let mut head = step("head", std::slice::from_ref(&hidden), &outputs);
    let last = Binding::Activation("hidden.0".to_owned());
    head.2.inputs.insert("hidden".to_owned(), last);
    vec![inputs, layer(0), layer(1), head]
}

/// Whether a layer sums up: the first does not, the second does.
fn weights() -> BTreeMap<String, WeightEntry> {
    let entry = |index: u64| WeightEntry {
        file: "weights".to_owned(),
        offset: index * WEIGHT_ALIGNMENT,
        dtype: Dtype::F32,
        shape: vec![1],
    };
    [0, 1].map(|index| (format!("sums.{index}"), entry(index))).into()
}

fn value(name: &str, dtype: Dtype, shape: &[&str]) -> Value {
    let dim = |text: &&str| match text.parse() {
        Ok(size) => Dim::Fixed(size),
        Err(_) => Dim::Symbol((*text).to_owned()),
    };
    Value { name: name.to_owned(), dtype, shape: shape.iter().map(dim).collect() }
}

fn step(graph: &str, inputs: &[Value], outputs: &[Value]) -> (String, Graph, Step) {
    let bind = |value: &Value| {
        let binding = match value.name.as_str() {
            "past" | "present" => Binding::Cache("past".to_owned()),
            name => Binding::Activation(name.to_owned()),
        };
        (value.name.clone(), binding)
    };
    let step = Step {
        graph: graph.to_owned(),
        inputs: inputs.iter().map(bind).collect(),
        outputs: outputs.iter().map(bind).collect(),
    };
    let file = format!("{graph}.onnx");
    (
        graph.to_owned(),
        Graph { file, twin: None, inputs: inputs.to_vec(), outputs: outputs.to_vec() },
        step,
    )
}
