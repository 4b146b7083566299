//! Which engines are built: one a graph and pass, and for decoding one a rung of the ladder.

use std::collections::{BTreeMap, BTreeSet};

use cumo_bundle::{
    Binding, Dim, EngineLimits, Graph, Manifest, Pass, Phase, ShapeRange, Value, names,
};

use super::error::Error;
use super::options::Sizes;

/// The shortest cache that an engine of a long context is built for.
const FIRST_RUNG: usize = 512;

/// The longest rung with an engine for one position and no more: TensorRT-RTX 1.7.1 has a kernel for
/// one position's attention to 20,000 others, none to 32,768, and one where there may be a second
/// position (Mistral-7B's heads, f16).
const LONGEST_RUNG_OF_ONE: usize = 16384;

/// Defaults of sizes, where the model has room for them.
const MAX_CONTEXT: usize = 4096;
const MAX_PROMPT: usize = 2048;

/// An engine to be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Job {
    /// The graph.
    pub(super) graph: String,
    /// The part of the model that it belongs to.
    pub(super) part: String,
    /// What it is run for.
    pub(super) pass: Pass,
    /// The rung that it attends to.
    pub(super) attended: Option<usize>,
    /// Shapes of the inputs that are not fixed in the graph.
    pub(super) profile: BTreeMap<String, ShapeRange>,
    /// Sizes that the engine fixes, by symbol.
    pub(super) fixed: BTreeMap<String, usize>,
    /// Inputs and outputs that are caches.
    pub(super) caches: BTreeSet<String>,
}

impl Job {
    /// The engine's name: graph, pass, rung.
    pub(super) fn name(&self) -> String {
        let rung = self.attended.map_or_else(String::new, |rung| format!(".{rung}"));
        format!("{}.{}{rung}", self.graph, self.pass.name())
    }

    /// The size that the engine fixes for a symbol of an input, output or tensor between.
    pub(super) fn fixed_size(&self, value: &str, symbol: &str) -> Option<usize> {
        // A cache's length must be a number for TensorRT's parser, also where others are open.
        let length = self.attended.filter(|_| symbol == names::ATTENDED);
        let length = length.filter(|_| self.caches.contains(value));
        length.or_else(|| self.fixed.get(symbol).copied())
    }

    /// The engine's file.
    pub(super) fn file(&self) -> String {
        format!("{}.engine", self.name())
    }
}

/// The sizes that engines take: those that were asked for, or defaults that the model has room for.
///
/// # Errors
/// [`Error::Size`].
pub(super) fn limits(manifest: &Manifest, sizes: &Sizes) -> Result<EngineLimits, Error> {
    let context = manifest.model.llm.context_length;
    let max_context = sizes.max_context.unwrap_or_else(|| context.min(MAX_CONTEXT));
    let max_prompt = sizes.max_prompt.unwrap_or_else(|| max_context.min(MAX_PROMPT));
    let (max_images, batch) = (sizes.max_images.unwrap_or(1), sizes.batch.unwrap_or(1));
    if max_context == 0 || max_context > context {
        let reason = format!("it must be 1 to {context}, the positions of the model");
        return Err(Error::Size { option: "max-context", value: max_context, reason });
    }
    if max_prompt > max_context {
        let reason = format!(
            "a prompt must fit into the cache, which has {max_context} positions (--max-context)"
        );
        return Err(Error::Size { option: "max-prompt", value: max_prompt, reason });
    }
    let most = usize::from(u16::MAX);
    let counts = [
        ("max-images", max_images, most),
        ("batch", batch, most),
        ("max-prompt", max_prompt, max_context),
    ];
    for (option, value, most) in counts {
        if value == 0 || value > most {
            let reason = format!("it must be 1 to {most}");
            return Err(Error::Size { option, value, reason });
        }
    }
    let attended = ladder(&manifest.plan.attended, max_context);
    Ok(EngineLimits { max_images, batch, max_prompt, max_context, attended })
}

/// What is to be said of a context that has no room for a question about an image: the image's
/// positions, a token before them and one of the answer.
pub(super) fn images_problem(image_tokens: usize, max_context: usize) -> Option<String> {
    let needed = image_tokens.saturating_add(2);
    (max_context < needed).then(|| {
        format!(
            "no question about an image fits: an image takes {image_tokens} positions, the engines \
             have {max_context} (--max-context {needed} at least)"
        )
    })
}

/// The bundle's rungs that a cache of `max_context` positions has, without the short ones where
/// there are long ones: an engine each is not worth what it saves.
fn ladder(rungs: &[usize], max_context: usize) -> Vec<usize> {
    if rungs.is_empty() {
        return Vec::new();
    }
    let first = if max_context > FIRST_RUNG { FIRST_RUNG } else { 1 };
    let inner = rungs.iter().copied().filter(|rung| *rung >= first && *rung < max_context);
    inner.chain([max_context]).collect()
}

/// The engines of a plan, in the order in which it uses them.
///
/// # Errors
/// [`Error::Symbol`].
pub(super) fn jobs(manifest: &Manifest, limits: &EngineLimits) -> Result<Vec<Job>, Error> {
    let mut jobs = Vec::new();
    let mut seen = BTreeSet::new();
    for phase in Phase::ALL {
        for step in manifest.plan.steps(phase) {
            if !seen.insert((&step.graph, phase)) {
                continue;
            }
            let Some(graph) = manifest.graphs.get(&step.graph) else { continue };
            for pass in Pass::of(phase) {
                let bindings = step.inputs.iter().chain(&step.outputs);
                let caches = bindings.filter(|(_, it)| matches!(it, Binding::Cache(_)));
                let caches: BTreeSet<String> = caches.map(|(value, _)| value.clone()).collect();
                for attended in limits.rungs(manifest, &step.graph, *pass) {
                    let caches = caches.clone();
                    let sizes = Sizing { pass: *pass, attended, caches: &caches, limits, manifest };
                    jobs.push(Job {
                        graph: step.graph.clone(),
                        part: part(manifest, &step.graph, phase),
                        pass: *pass,
                        attended,
                        profile: sizes.profile(&step.graph, graph)?,
                        fixed: sizes.fixed(graph),
                        caches,
                    });
                }
            }
        }
    }
    Ok(jobs)
}

/// The part that a graph belongs to: that of its weights, or else of its phase.
pub(super) fn part(manifest: &Manifest, graph: &str, phase: Phase) -> String {
    let steps = manifest.plan.steps(phase).iter().filter(|step| step.graph == graph);
    let weights = steps.flat_map(|step| step.inputs.values()).find_map(|binding| match binding {
        Binding::Weight(name) => manifest.weights.get(name),
        _ => None,
    });
    let file = weights.and_then(|weight| weight.file.strip_suffix(".safetensors"));
    file.map_or_else(
        || match phase {
            Phase::EncodeImages => "vision".to_owned(),
            Phase::EmbedTokens => "embed".to_owned(),
            Phase::Decode => "llm".to_owned(),
        },
        str::to_owned,
    )
}

/// What sizes of a graph's run follow from.
struct Sizing<'a> {
    pass: Pass,
    attended: Option<usize>,
    caches: &'a BTreeSet<String>,
    limits: &'a EngineLimits,
    manifest: &'a Manifest,
}

impl Sizing<'_> {
    /// Shapes of a graph's inputs that have symbols.
    fn profile(&self, name: &str, graph: &Graph) -> Result<BTreeMap<String, ShapeRange>, Error> {
        let dynamic = |input: &&Value| input.shape.iter().any(|dim| matches!(dim, Dim::Symbol(_)));
        let range = |input: &Value| {
            let sizes = input.shape.iter().map(|dim| match dim {
                Dim::Fixed(size) => Ok([*size; 3]),
                Dim::Symbol(symbol)
                    if symbol == names::ATTENDED && self.caches.contains(&input.name) =>
                {
                    let [min, opt, max] = self.size(symbol).unwrap_or_default();
                    Ok(self.attended.map_or([min, opt, max], |rung| [rung; 3]))
                }
                Dim::Symbol(symbol) => self.size(symbol).ok_or_else(|| Error::Symbol {
                    graph: name.to_owned(),
                    input: input.name.clone(),
                    symbol: symbol.clone(),
                }),
            });
            let sizes: Vec<[usize; 3]> = sizes.collect::<Result<_, Error>>()?;
            let at = |index: usize| sizes.iter().map(|size| size[index]).collect();
            Ok((input.name.clone(), ShapeRange { min: at(0), opt: at(1), max: at(2) }))
        };
        graph.inputs.iter().filter(dynamic).map(range).collect()
    }

    /// Symbols of a graph that have one size only.
    fn fixed(&self, graph: &Graph) -> BTreeMap<String, usize> {
        let dims = graph.inputs.iter().chain(&graph.outputs).flat_map(|value| &value.shape);
        dims.filter_map(|dim| match dim {
            Dim::Symbol(symbol) => {
                let [min, _, max] = self.size(symbol)?;
                (min == max).then(|| (symbol.clone(), min))
            }
            Dim::Fixed(_) => None,
        })
        .collect()
    }

    fn has_open_length(&self, rung: usize) -> bool {
        let is_for_one = self.pass == Pass::Decode && rung <= LONGEST_RUNG_OF_ONE;
        !is_for_one && !self.caches.is_empty()
    }

    /// The smallest, most frequent and largest value of a symbol.
    fn size(&self, symbol: &str) -> Option<[usize; 3]> {
        let (limits, vision) = (self.limits, &self.manifest.model.vision);
        let crops: usize = vision.scales.iter().map(|scale| scale * scale).sum();
        Some(match symbol {
            names::IMAGES => [1, 1, limits.max_images],
            names::CROPS => [crops, crops, crops * limits.max_images],
            names::BATCH => [1, 1, limits.batch],
            names::SEQUENCE if self.pass == Pass::Decode => {
                [1, 1, if self.attended > Some(LONGEST_RUNG_OF_ONE) { 2 } else { 1 }]
            }
            names::SEQUENCE => {
                let most = limits.max_prompt_at(self.attended);
                [1, most, most]
            }
            names::MAX_SEQUENCE => [limits.max_context; 3],
            names::ATTENDED => match self.attended {
                // Open, except for the cache, where there may be more than one position: see the graphs'
                // attention.
                Some(rung) if self.has_open_length(rung) => [1, rung, rung],
                Some(rung) => [rung; 3],
                None => {
                    let first = *limits.attended.first().unwrap_or(&limits.max_context);
                    let mut rungs = limits.attended.iter().copied();
                    let opt = rungs.find(|rung| *rung >= limits.max_prompt);
                    [first, opt.unwrap_or(limits.max_context), limits.max_context]
                }
            },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_ladder_starts_at_512_and_ends_at_the_cache() {
        let rungs = [64, 128, 256, 512, 1024, 2048, 4096, 8192];
        assert_eq!(ladder(&rungs, 4096), [512, 1024, 2048, 4096]);
        assert_eq!(ladder(&rungs, 3000), [512, 1024, 2048, 3000]);
        assert_eq!(ladder(&rungs, 200), [64, 128, 200]);
        assert_eq!(ladder(&[], 200), [0usize; 0]);
    }

    #[test]
    fn a_context_without_room_for_an_image_is_warned_of() {
        let problem = images_problem(576, 512).unwrap();
        assert!(problem.starts_with("no question about an image fits"), "{problem}");
        assert!(problem.ends_with("(--max-context 578 at least)"), "{problem}");
        assert!(images_problem(576, 577).is_some());
        assert_eq!(images_problem(576, 578), None);
    }
}
