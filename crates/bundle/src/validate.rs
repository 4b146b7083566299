//! Whether a manifest agrees with itself: files, graphs, plan, cache.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use crate::fact_shapes;
use crate::manifest::{Dim, Graph, Manifest, Value};
use crate::names;
use crate::plan::{Binding, CacheSlot, CacheUpdate, Phase, Step};

/// The largest size or count that a manifest may name.
const MAX_SIZE: usize = 1 << 32;

/// The longest edge of `pixel_values`; its square, times three channels, is taken at once.
const MAX_IMAGE_SIZE: usize = 1 << 14;

/// Every contradiction in a manifest, one sentence each; empty when there is none.
pub(crate) fn problems(manifest: &Manifest) -> Vec<String> {
    let mut problems = Vec::new();
    files(manifest, &mut problems);
    facts(manifest, &mut problems);
    cache(manifest, &mut problems);
    fact_shapes::check(manifest, &mut problems);
    for phase in Phase::ALL {
        PhaseCheck::new(manifest, phase, &mut problems).run();
    }
    problems
}

fn files(manifest: &Manifest, problems: &mut Vec<String>) {
    for (name, entry) in &manifest.files {
        if !is_inside(name) || name == names::MANIFEST_FILE {
            problems.push(format!("file `{name}` is not a path inside the bundle"));
        }
        let hexadecimal = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        if entry.sha256.len() != 64 || !entry.sha256.chars().all(hexadecimal) {
            problems.push(format!("file `{name}`: `{}` is not a SHA-256", entry.sha256));
        }
    }
    for (name, graph) in &manifest.graphs {
        if !manifest.files.contains_key(&graph.file) {
            problems.push(format!("graph `{name}`: `{}` is not among the files", graph.file));
        }
        for value in graph.inputs.iter().chain(&graph.outputs) {
            if value.shape.iter().any(|dim| matches!(dim, Dim::Fixed(size) if *size > MAX_SIZE)) {
                problems.push(format!("graph `{name}`: `{}` has an absurd shape", value.name));
            }
        }
    }
    if let Some(kind) = manifest.model.tokenizer
        && !manifest.files.contains_key(kind.file_name())
    {
        problems.push(format!("tokenizer `{}` is not among the files", kind.file_name()));
    }
}

/// A relative path without `..`, that is not empty.
fn is_inside(name: &str) -> bool {
    let mut parts = Path::new(name).components().peekable();
    parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)))
}

fn facts(manifest: &Manifest, problems: &mut Vec<String>) {
    let model = &manifest.model;
    let sizes = [
        ("image.size", model.image.size),
        ("vision.image_tokens", model.vision.image_tokens),
        ("vision.hidden_size", model.vision.hidden_size),
        ("llm.vocab_size", model.llm.vocab_size),
        ("llm.hidden_size", model.llm.hidden_size),
        ("llm.num_layers", model.llm.num_layers),
        ("llm.num_attention_heads", model.llm.num_attention_heads),
        ("llm.num_key_value_heads", model.llm.num_key_value_heads),
        ("llm.head_dim", model.llm.head_dim),
        ("llm.context_length", model.llm.context_length),
        ("vision.scales (largest)", model.vision.scales.iter().copied().max().unwrap_or(0)),
        ("vision.scales (smallest)", model.vision.scales.iter().copied().min().unwrap_or(0)),
        ("llm.sliding_window", model.llm.sliding_window.unwrap_or(1)),
    ];
    for (name, size) in sizes {
        if size == 0 || size > MAX_SIZE {
            problems.push(format!("model.{name} is {size}"));
        }
    }
    if model.image.size > MAX_IMAGE_SIZE {
        problems.push(format!("model.image.size is {}", model.image.size));
    }
    for id in model.llm.eos_token_ids.iter().chain([&model.llm.bos_token_id]) {
        if *id as usize >= model.llm.vocab_size {
            problems.push(format!("token {id} is outside the vocabulary"));
        }
    }
    let finite = |values: &[f32; 3]| values.iter().all(|v| v.is_finite());
    if !finite(&model.image.mean) || !finite(&model.image.std) || model.image.std.contains(&0.0) {
        problems.push("model.image: mean and std must be finite, std not zero".to_owned());
    }
}

fn cache(manifest: &Manifest, problems: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for slot in &manifest.plan.cache {
        if !seen.insert(&slot.name) {
            problems.push(format!("cache slot `{}` is there twice", slot.name));
        }
        let positions = positions_symbol(slot);
        let symbols: Vec<&str> = symbols(&slot.shape).collect();
        if symbols.iter().filter(|s| **s == positions).count() != 1
            || symbols.iter().any(|s| *s != positions && *s != names::BATCH)
        {
            problems.push(format!(
                "cache slot `{}`: its shape must have the symbol `{positions}` once, and no other than `batch`",
                slot.name
            ));
        }
        if slot.shape.iter().any(|dim| matches!(dim, Dim::Fixed(size) if *size > MAX_SIZE)) {
            problems.push(format!("cache slot `{}` has an absurd shape", slot.name));
        }
    }
}

fn positions_symbol(slot: &CacheSlot) -> &'static str {
    match slot.update {
        CacheUpdate::Append => names::PAST_SEQUENCE,
        CacheUpdate::InPlace => names::MAX_SEQUENCE,
    }
}

fn symbols(shape: &[Dim]) -> impl Iterator<Item = &str> {
    shape.iter().filter_map(|dim| match dim {
        Dim::Symbol(name) => Some(name.as_str()),
        Dim::Fixed(_) => None,
    })
}

/// One phase's steps against the graphs' signatures and against what has been computed so far.
struct PhaseCheck<'a> {
    manifest: &'a Manifest,
    phase: Phase,
    /// Activations that exist, with the value that made them; none for those of the runtime.
    made: BTreeMap<&'a str, Option<&'a Value>>,
    problems: &'a mut Vec<String>,
}

impl<'a> PhaseCheck<'a> {
    fn new(manifest: &'a Manifest, phase: Phase, problems: &'a mut Vec<String>) -> Self {
        let given = phase_inputs(phase).iter().map(|name| (*name, None)).collect();
        PhaseCheck { manifest, phase, made: given, problems }
    }

    fn run(mut self) {
        for step in self.manifest.plan.steps(self.phase) {
            match self.manifest.graphs.get(&step.graph) {
                Some(graph) => self.step(step, graph),
                None => self.problem(step, "there is no such graph"),
            }
        }
        for name in phase_outputs(self.phase) {
            if !self.made.contains_key(name) {
                self.problems.push(format!("plan: {:?} never makes `{name}`", self.phase));
            }
        }
    }

    fn step(&mut self, step: &'a Step, graph: &'a Graph) {
        for value in &graph.inputs {
            match step.inputs.get(&value.name) {
                None => self.problem(step, &format!("input `{}` is not bound", value.name)),
                Some(Binding::Cache(slot)) => self.cache(step, value, slot),
                Some(Binding::Activation(name)) => match self.made.get(name.as_str()) {
                    None => self.problem(step, &format!("reads `{name}` before it is made")),
                    Some(Some(source)) if source.dtype != value.dtype => self.problem(
                        step,
                        &format!("`{name}` is {}, the input wants {}", source.dtype, value.dtype),
                    ),
                    Some(Some(source)) if !Dim::agree(&source.shape, &value.shape) => {
                        let (made, read) = (Dim::list(&source.shape), Dim::list(&value.shape));
                        self.problem(step, &format!("`{name}` is {made}, the input wants {read}"));
                    }
                    Some(_) => {}
                },
            }
        }
        for name in step.inputs.keys() {
            if !graph.inputs.iter().any(|value| value.name == *name) {
                self.problem(step, &format!("the graph has no input `{name}`"));
            }
        }
        for (name, binding) in &step.outputs {
            match (graph.outputs.iter().find(|value| value.name == *name), binding) {
                (None, _) => self.problem(step, &format!("the graph has no output `{name}`")),
                (Some(value), Binding::Cache(slot)) => self.cache(step, value, slot),
                (Some(value), Binding::Activation(name)) => {
                    self.made.insert(name, Some(value));
                }
            }
        }
    }

    fn cache(&mut self, step: &Step, value: &Value, slot: &str) {
        match self.manifest.plan.cache.iter().find(|candidate| candidate.name == slot) {
            None => self.problem(step, &format!("there is no cache slot `{slot}`")),
            Some(found)
                if found.dtype != value.dtype || !Dim::agree(&found.shape, &value.shape) =>
            {
                let what = format!(
                    "`{}` ({} {}) does not fit cache slot `{slot}` ({} {})",
                    value.name,
                    value.dtype,
                    Dim::list(&value.shape),
                    found.dtype,
                    Dim::list(&found.shape)
                );
                self.problem(step, &what);
            }
            Some(_) => {}
        }
    }

    fn problem(&mut self, step: &Step, what: &str) {
        self.problems.push(format!("plan: step `{}`: {what}", step.graph));
    }
}

/// Activations that the runtime provides to a phase.
fn phase_inputs(phase: Phase) -> &'static [&'static str] {
    match phase {
        Phase::EncodeImages => &[names::PIXEL_VALUES],
        Phase::EmbedTokens => &[names::INPUT_IDS],
        Phase::Decode => &[names::INPUTS_EMBEDS, names::ATTENTION_MASK, names::POSITION_IDS],
    }
}

/// Activations that a phase must leave behind.
fn phase_outputs(phase: Phase) -> &'static [&'static str] {
    match phase {
        Phase::EncodeImages => &[names::IMAGE_EMBEDS],
        Phase::EmbedTokens => &[names::INPUTS_EMBEDS],
        Phase::Decode => &[names::LOGITS],
    }
}

#[cfg(test)]
pub(crate) mod tests {
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
        (name.to_owned(), Graph { file: format!("{name}.onnx"), inputs, outputs })
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
                decode: vec![step(
                    "llm",
                    &["inputs_embeds", "past_key_values.0.key"],
                    &["logits", "present.0.key"],
                )],
            },
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

    pub(crate) fn problems_after(change: impl FnOnce(&mut Manifest)) -> String {
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
}
