//! Whether an engines' manifest agrees with itself.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use crate::engines::{EngineEntry, EnginesManifest, Pass, TensorrtFlavour, WeightsFiles};
use crate::plan::Phase;
use crate::{engines_profiles, names, validate};

/// Every contradiction, one sentence each; empty when there is none.
pub(crate) fn problems(manifest: &EnginesManifest) -> Vec<String> {
    let bundle = validate::problems(&manifest.bundle);
    let mut problems: Vec<_> = bundle.into_iter().map(|text| format!("bundle: {text}")).collect();
    files(manifest, &mut problems);
    limits(manifest, &mut problems);
    for engine in &manifest.engines {
        problems.extend(engine_problems(manifest, engine));
    }
    shared_files(manifest, &mut problems);
    coverage(manifest, &mut problems);
    let tensorrt = &manifest.tensorrt;
    if tensorrt.flavour != TensorrtFlavour::Rtx && tensorrt.compute_capabilities.is_empty() {
        // Only TensorRT-RTX builds for devices that it does not name.
        problems.push(format!("{} built for no device", tensorrt.flavour));
    }
    problems
}

fn files(manifest: &EnginesManifest, problems: &mut Vec<String>) {
    for (name, entry) in &manifest.files {
        let mut parts = Path::new(name).components().peekable();
        let inside =
            parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)));
        if !inside || name == names::MANIFEST_FILE {
            problems.push(format!("file `{name}` is not a path inside the folder"));
        }
        if !is_sha256(&entry.sha256) {
            problems.push(format!("file `{name}`: `{}` is not a SHA-256", entry.sha256));
        }
    }
    if matches!(manifest.weights_files, WeightsFiles::Link | WeightsFiles::Copy) {
        for (name, weight) in &manifest.bundle.weights {
            let (have, want) =
                (manifest.files.get(&weight.file), manifest.bundle.files.get(&weight.file));
            if have.is_none() || have != want {
                let file = &weight.file;
                problems.push(format!("weight `{name}`: `{file}` is not among the files"));
            }
        }
    }
}

pub(crate) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
}

fn limits(manifest: &EnginesManifest, problems: &mut Vec<String>) {
    let limits = &manifest.limits;
    let context = manifest.bundle.model.llm.context_length;
    let sizes = [
        ("max_images", limits.max_images, usize::from(u16::MAX)),
        ("batch", limits.batch, usize::from(u16::MAX)),
        ("max_context", limits.max_context, context),
        ("max_prompt", limits.max_prompt, limits.max_context),
    ];
    for (name, size, most) in sizes {
        if size == 0 || size > most {
            problems.push(format!("limits.{name} is {size}, it must be 1 to {most}"));
        }
    }
    let rungs = &limits.attended;
    let rises = rungs.windows(2).all(|pair| pair[0] < pair[1]) && rungs.first() != Some(&0);
    if !rises || rungs.last().is_some_and(|last| *last != limits.max_context) {
        problems.push(format!(
            "limits.attended must rise from above 0 to max_context, {}, it is {rungs:?}",
            limits.max_context
        ));
    }
}

fn engine_problems(manifest: &EnginesManifest, engine: &EngineEntry) -> Vec<String> {
    let EngineEntry { file, graph, attended, key, .. } = engine;
    if !manifest.files.contains_key(file) {
        return vec![format!("engine `{file}` is not among the files")];
    }
    let Some(graph) = manifest.bundle.graphs.get(graph) else {
        return vec![format!("engine `{file}`: the bundle has no graph `{graph}`")];
    };
    let mut problems = engines_profiles::problems(manifest, engine, graph);
    if !is_sha256(key) {
        problems.push(format!("engine `{file}`: its key `{key}` is not a SHA-256"));
    }
    if let Some(rung) = attended.filter(|rung| !manifest.limits.attended.contains(rung)) {
        problems.push(format!("engine `{file}`: {rung} is no rung of the ladder"));
    }
    for plugin in engine.contents.plugins.keys() {
        if manifest.plugin.as_ref().is_none_or(|facts| facts.name != *plugin) {
            problems.push(format!(
                "engine `{file}` holds nodes of {plugin}, of which the manifest says nothing"
            ));
        }
    }
    problems
}

/// Files that more than one engine claims.
fn shared_files(manifest: &EnginesManifest, problems: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for EngineEntry { file, .. } in &manifest.engines {
        if !seen.insert(file) {
            problems.push(format!("`{file}` is the file of more than one engine"));
        }
    }
}

/// Whether every step of the plan has an engine for each of its passes.
fn coverage(manifest: &EnginesManifest, problems: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for phase in Phase::ALL {
        for step in manifest.bundle.plan.steps(phase) {
            if !seen.insert((&step.graph, phase)) {
                continue;
            }
            for pass in Pass::of(phase) {
                for rung in manifest.limits.rungs(&manifest.bundle, &step.graph, *pass) {
                    let serves = |engine: &&EngineEntry| {
                        engine.graph == step.graph
                            && engine.pass == *pass
                            && (rung.is_none() || engine.attended == rung)
                    };
                    match manifest.engines.iter().filter(serves).count() {
                        1 => {}
                        count => problems.push(format!(
                            "graph `{}` has {count} engines for {}{}, it needs one",
                            step.graph,
                            pass.name(),
                            rung.map_or_else(String::new, |rung| format!(" over {rung} positions")),
                        )),
                    }
                }
            }
        }
    }
}
