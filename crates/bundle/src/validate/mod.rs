//! Whether a manifest agrees with itself: files, graphs, plan, cache, weights.

mod phase;
mod weights;

use std::collections::BTreeSet;
use std::path::{Component, Path};

use crate::fact_shapes;
use crate::manifest::{Dim, Graph, Manifest};
use crate::names;
use crate::plan::Phase;
use phase::PhaseCheck;

/// The largest size or count that a manifest may name.
const MAX_SIZE: usize = 1 << 32;

/// The longest edge of `pixel_values`; its square, times three channels, is taken at once.
const MAX_IMAGE_SIZE: usize = 1 << 14;

/// Every contradiction in a manifest, one sentence each; empty when there is none.
pub(crate) fn problems(manifest: &Manifest) -> Vec<String> {
    let mut problems = Vec::new();
    files(manifest, &mut problems);
    facts(manifest, &mut problems);
    weights::weights(manifest, &mut problems);
    cache(manifest, &mut problems);
    ladder(manifest, &mut problems);
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
        if let Some(twin) = &graph.twin
            && (*twin == graph.file || !manifest.files.contains_key(twin))
        {
            problems.push(format!("graph `{name}`: its twin `{twin}` is no other of the files"));
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
        let positions = slot.update.positions();
        let symbols = || symbols(&slot.shape);
        if symbols().filter(|symbol| positions.contains(symbol)).count() != 1
            || symbols().any(|symbol| !positions.contains(&symbol) && symbol != names::BATCH)
        {
            let positions = positions.join("` or `");
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

fn ladder(manifest: &Manifest, problems: &mut Vec<String>) {
    let attended = &manifest.plan.attended;
    let rises = attended.windows(2).all(|pair| pair[0] < pair[1]);
    let context = manifest.model.llm.context_length;
    match (attended.first(), attended.last()) {
        (Some(first), Some(last)) if !rises || *first == 0 || *last != context => {
            problems.push(format!(
                "plan.attended must rise from above 0 to the context's {context} positions, it is {attended:?}"
            ));
        }
        (None, _) => {
            let reads = |graph: &Graph| {
                let mut values = graph.inputs.iter().chain(&graph.outputs);
                values.any(|value| symbols(&value.shape).any(|symbol| symbol == names::ATTENDED))
            };
            if let Some((name, _)) = manifest.graphs.iter().find(|(_, graph)| reads(graph)) {
                problems.push(format!(
                    "graph `{name}` has the size `{}`, and plan.attended is empty",
                    names::ATTENDED
                ));
            }
        }
        _ => {}
    }
}

fn symbols(shape: &[Dim]) -> impl Iterator<Item = &str> {
    shape.iter().filter_map(|dim| match dim {
        Dim::Symbol(name) => Some(name.as_str()),
        Dim::Fixed(_) => None,
    })
}

#[cfg(test)]
pub(crate) mod tests;
