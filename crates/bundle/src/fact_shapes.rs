//! The model's facts against the shapes of the graphs that run.
//!
//! The runtime makes pixels, rows of embeddings and logits by the facts and gives them to graphs by
//! the shapes: where the two differ, tensors would be cut in the wrong places.

use std::collections::{BTreeMap, BTreeSet};

use crate::manifest::{Dim, Manifest, Value};
use crate::names;
use crate::plan::{Binding, Phase};

/// A dimension that a fact gives: which, the fact's name, and its number.
type Known = (usize, &'static str, usize);

/// Adds a sentence for every tensor whose shape is not what the facts make it.
pub(crate) fn check(manifest: &Manifest, problems: &mut Vec<String>) {
    let mut found = BTreeSet::new();
    for step in Phase::ALL.iter().flat_map(|phase| manifest.plan.steps(*phase)) {
        let Some(graph) = manifest.graphs.get(&step.graph) else { continue };
        let inputs = bound(&step.inputs, &graph.inputs);
        for (value, binding) in inputs.chain(bound(&step.outputs, &graph.outputs)) {
            let Binding::Activation(name) = binding else { continue };
            let Some((rank, known)) = shape_of(manifest, name) else { continue };
            if let Some(problem) = difference(&value.shape, rank, &known) {
                found.insert(format!("graph `{}`: `{}` {problem}", step.graph, value.name));
            }
        }
    }
    let heads = [
        (1, "llm.num_key_value_heads", manifest.model.llm.num_key_value_heads),
        (3, "llm.head_dim", manifest.model.llm.head_dim),
    ];
    for slot in &manifest.plan.cache {
        if let Some(problem) = difference(&slot.shape, 4, &heads) {
            found.insert(format!("cache slot `{}` {problem}", slot.name));
        }
    }
    problems.extend(found);
}

/// A step's values of one direction with what they are bound to.
fn bound<'a>(
    bindings: &'a BTreeMap<String, Binding>,
    values: &'a [Value],
) -> impl Iterator<Item = (&'a Value, &'a Binding)> {
    values.iter().filter_map(|value| Some((value, bindings.get(&value.name)?)))
}

/// Rank and known dimensions of the tensors between graphs and runtime (see [`crate::names`]).
fn shape_of(manifest: &Manifest, name: &str) -> Option<(usize, Vec<Known>)> {
    let model = &manifest.model;
    let (size, tokens) = (model.image.size, model.vision.image_tokens);
    let channels = model.vision.hidden_size.saturating_mul(model.vision.scales.len());
    let hidden = (2, "llm.hidden_size", model.llm.hidden_size);
    let tokens = (1, "vision.image_tokens", tokens);
    Some(match name {
        names::PIXEL_VALUES => {
            (4, vec![(1, "channels", 3), (2, "image.size", size), (3, "image.size", size)])
        }
        names::IMAGE_FEATURES => {
            (3, vec![tokens, (2, "vision.hidden_size times scales", channels)])
        }
        names::IMAGE_EMBEDS => (3, vec![tokens, hidden]),
        names::INPUTS_EMBEDS => (3, vec![hidden]),
        names::LOGITS => (3, vec![(2, "llm.vocab_size", model.llm.vocab_size)]),
        _ => return None,
    })
}

/// How a shape differs from what is known of it.
fn difference(shape: &[Dim], rank: usize, known: &[Known]) -> Option<String> {
    let is = |found: &Dim, size: usize| matches!(found, Dim::Fixed(fixed) if *fixed == size);
    if shape.len() != rank {
        return Some(format!("has shape {}; it must have {rank} dimensions", Dim::list(shape)));
    }
    let wrong = |(place, _, size): &&Known| shape.get(*place).is_none_or(|dim| !is(dim, *size));
    let (place, fact, size) = known.iter().find(wrong)?;
    Some(format!("has shape {}; dimension {place} must be {size} ({fact})", Dim::list(shape)))
}

#[cfg(test)]
mod tests {
    use crate::manifest::{Dim, Manifest};
    use crate::validate::tests::problems_after;

    #[test]
    fn facts_that_the_graphs_contradict_are_named_with_both_numbers() {
        type Change = fn(&mut Manifest);
        let cases: [(Change, &str); 8] = [
            (
                |m| m.model.image.size = 14,
                "graph `vision`: `pixel_values` has shape [images, 3, 28, 28]; dimension 2 must be 14 (image.size)",
            ),
            (
                |m| m.model.vision.image_tokens = 9,
                "graph `connector`: `image_embeds` has shape [images, 4, 16]; dimension 1 must be 9 (vision.image_tokens)",
            ),
            (
                |m| m.model.vision.scales = vec![1, 2],
                "graph `vision`: `image_features` has shape [images, 4, 8]; dimension 2 must be 16 (vision.hidden_size times scales)",
            ),
            (
                |m| m.model.llm.hidden_size = 8,
                "graph `embed`: `inputs_embeds` has shape [batch, sequence, 16]; dimension 2 must be 8 (llm.hidden_size)",
            ),
            (
                |m| m.model.llm.vocab_size = 33,
                "graph `llm`: `logits` has shape [batch, sequence, 32]; dimension 2 must be 33 (llm.vocab_size)",
            ),
            (
                |m| m.model.llm.num_key_value_heads = 1,
                "cache slot `past_key_values.0.key` has shape [batch, 2, past_sequence, 8]; dimension 1 must be 1 (llm.num_key_value_heads)",
            ),
            (|m| m.model.llm.head_dim = 16, "dimension 3 must be 16 (llm.head_dim)"),
            (
                |m| {
                    let logits = &mut m.graphs.get_mut("llm").unwrap().outputs[0];
                    logits.shape = vec![Dim::Fixed(32)];
                },
                "graph `llm`: `logits` has shape [32]; it must have 3 dimensions",
            ),
        ];
        for (change, part) in cases {
            let found = problems_after(change);
            assert!(found.contains(part), "{part} not in {found}");
        }
    }

    #[test]
    fn a_symbol_where_a_fact_gives_the_size_is_named() {
        let found = problems_after(|m| {
            m.graphs.get_mut("embed").unwrap().outputs[0].shape[2] = Dim::Symbol("batch".into());
        });
        assert!(found.contains("[batch, sequence, batch]; dimension 2 must be 16"), "{found}");
    }
}
