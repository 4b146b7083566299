//! The steps of one phase against the graphs' signatures, the cache and the weights.

use std::collections::{BTreeMap, BTreeSet};

use super::weights;
use crate::manifest::{Dim, Graph, Manifest, Value};
use crate::names;
use crate::plan::{Binding, CacheSlot, Phase, Step};

/// One phase's steps, and what has been computed so far.
pub(super) struct PhaseCheck<'a> {
    manifest: &'a Manifest,
    phase: Phase,
    slots: BTreeMap<&'a str, &'a CacheSlot>,
    /// Activations that exist, as the last step made them; none for those of the runtime and of
    /// other phases.
    made: BTreeMap<&'a str, Option<&'a Value>>,
    problems: &'a mut Vec<String>,
}

/// Where a value stands in its graph.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Input,
    Output,
}

impl<'a> PhaseCheck<'a> {
    pub(super) fn new(manifest: &'a Manifest, phase: Phase, problems: &'a mut Vec<String>) -> Self {
        let slots = manifest.plan.cache.iter().map(|slot| (slot.name.as_str(), slot)).collect();
        let made = phase_inputs(phase).iter().map(|name| (*name, None)).collect();
        PhaseCheck { manifest, phase, slots, made, problems }
    }

    pub(super) fn run(mut self) {
        for step in self.manifest.plan.steps(self.phase) {
            match self.manifest.graphs.get(&step.graph) {
                Some(graph) => {
                    self.inputs(step, graph);
                    self.outputs(step, graph);
                }
                None => self.problem(step, "there is no such graph"),
            }
        }
        for name in phase_outputs(self.phase) {
            if !self.made.contains_key(name) {
                self.problems.push(format!("plan: {:?} never makes `{name}`", self.phase));
            }
        }
    }

    fn inputs(&mut self, step: &'a Step, graph: &'a Graph) {
        for value in &graph.inputs {
            match step.inputs.get(&value.name) {
                None => self.problem(step, &format!("input `{}` is not bound", value.name)),
                Some(Binding::Cache(slot)) => self.cache(step, value, slot, Side::Input),
                Some(Binding::Weight(name)) => self.weight(step, value, name),
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
    }

    fn outputs(&mut self, step: &'a Step, graph: &'a Graph) {
        let mut taken = BTreeSet::new();
        for (name, binding) in &step.outputs {
            let Some(value) = graph.outputs.iter().find(|value| value.name == *name) else {
                self.problem(step, &format!("the graph has no output `{name}`"));
                continue;
            };
            match binding {
                Binding::Cache(slot) => self.cache(step, value, slot, Side::Output),
                Binding::Weight(weight) => {
                    self.problem(step, &format!("makes `{weight}`, which is a weight"));
                }
                Binding::Activation(activation) => self.activation_made(step, value, activation),
            }
            if !taken.insert(binding) {
                self.problem(step, &format!("output `{name}` is bound to what another one makes"));
            }
        }
    }

    fn activation_made(&mut self, step: &'a Step, value: &'a Value, name: &'a str) {
        let reads = |binding: &Binding| *binding == Binding::Activation(name.to_owned());
        if step.inputs.values().any(reads) {
            self.problem(step, &format!("makes `{name}`, which it reads"));
        }
        if phase_inputs(self.phase).contains(&name) {
            self.problem(step, &format!("makes `{name}`, which is given to it"));
            return;
        }
        if let Some(Some(before)) = self.made.insert(name, Some(value))
            && before.dtype != value.dtype
        {
            let (now, before) = (value.dtype, before.dtype);
            self.problem(step, &format!("makes `{name}` of {now}, it was {before} before"));
        }
    }

    fn weight(&mut self, step: &Step, value: &Value, name: &str) {
        match self.manifest.weights.get(name) {
            None => self.problem(step, &format!("there is no weight `{name}`")),
            Some(weight) => {
                if let Some(problem) = weights::input_problem(name, weight, value) {
                    self.problem(step, &problem);
                }
            }
        }
    }

    fn cache(&mut self, step: &Step, value: &Value, name: &str, side: Side) {
        let Some(slot) = self.slots.get(name) else {
            self.problem(step, &format!("there is no cache slot `{name}`"));
            return;
        };
        let wanted = |dim: &Dim| match dim {
            Dim::Symbol(own) if side == Side::Output && own != names::BATCH => {
                Dim::Symbol(slot.update.output_positions(own).to_owned())
            }
            other => other.clone(),
        };
        let wanted: Vec<Dim> = slot.shape.iter().map(wanted).collect();
        if slot.dtype != value.dtype || wanted != value.shape {
            let what = format!(
                "`{}` ({} {}) does not fit cache slot `{name}` ({} {})",
                value.name,
                value.dtype,
                Dim::list(&value.shape),
                slot.dtype,
                Dim::list(&wanted)
            );
            self.problem(step, &what);
        }
    }

    fn problem(&mut self, step: &Step, what: &str) {
        self.problems.push(format!("plan: step `{}`: {what}", step.graph));
    }
}

/// Activations that the runtime provides to a phase; the third reads the second's embeddings, among
/// which those of images have been put.
fn phase_inputs(phase: Phase) -> &'static [&'static str] {
    match phase {
        Phase::EncodeImages => &[names::PIXEL_VALUES],
        Phase::EmbedTokens => &[names::INPUT_IDS],
        Phase::Decode => &[
            names::INPUTS_EMBEDS,
            names::ATTENTION_MASK,
            names::POSITION_IDS,
            names::WRITE_INDICES,
            names::CACHE_POSITIONS,
        ],
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
