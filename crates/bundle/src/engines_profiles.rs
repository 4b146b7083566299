//! Whether the shapes that an engine takes are those of its graph, for the sizes that the limits
//! promise.

use crate::engines::{EngineEntry, EnginesManifest, Pass, ShapeRange};
use crate::manifest::{Dim, Graph, Value};
use crate::names;

/// What is wrong with the shapes of an engine's inputs, one sentence each.
pub(crate) fn problems(
    manifest: &EnginesManifest,
    engine: &EngineEntry,
    graph: &Graph,
) -> Vec<String> {
    let file = &engine.file;
    let mut problems = Vec::new();
    for input in engine.profile.keys() {
        if !graph.inputs.iter().any(|value| value.name == *input) {
            problems.push(format!("engine `{file}`: its shapes of `{input}` are not the graph's"));
        }
    }
    for value in &graph.inputs {
        let input = &value.name;
        match engine.profile.get(input) {
            None if value.shape.iter().any(|dim| matches!(dim, Dim::Symbol(_))) => {
                problems.push(format!("engine `{file}`: there are no shapes for `{input}`"));
            }
            None => {}
            Some(range) if !fits(range, &value.shape) => {
                problems
                    .push(format!("engine `{file}`: its shapes of `{input}` are not the graph's"));
            }
            Some(range) => problems.extend(size_problem(manifest, engine, value, range)),
        }
    }
    problems
}

/// Whether a range is of the shape's rank, has its fixed sizes, and rises.
fn fits(range: &ShapeRange, shape: &[Dim]) -> bool {
    let ShapeRange { min, opt, max } = range;
    let ranks = [min.len(), opt.len(), max.len()];
    let mut sizes = min.iter().zip(opt).zip(max).zip(shape);
    ranks.iter().all(|rank| *rank == shape.len())
        && sizes.all(|(((min, opt), max), dim)| match dim {
            Dim::Fixed(size) => min == size && opt == size && max == size,
            Dim::Symbol(_) => min <= opt && opt <= max,
        })
}

/// The first size of an input that goes not from the smallest that comes up to the limit.
fn size_problem(
    manifest: &EnginesManifest,
    engine: &EngineEntry,
    value: &Value,
    range: &ShapeRange,
) -> Option<String> {
    let sizes = range.min.iter().zip(&range.max).zip(&value.shape);
    sizes.into_iter().find_map(|((min, max), dim)| {
        let Dim::Symbol(symbol) = dim else { return None };
        let (least, most) = promised(manifest, engine, symbol)?;
        // One position's engine may take more where TensorRT has no kernel for one alone.
        let one = engine.pass == Pass::Decode && symbol == names::SEQUENCE;
        let holds = *min <= least && if one { *max >= most } else { *max == most };
        let (file, input) = (&engine.file, &value.name);
        (!holds).then(|| {
            format!(
                "engine `{file}`: `{input}` takes {min} to {max} {symbol}, the limits say {least} to {most}"
            )
        })
    })
}

/// The sizes that an engine must take, from the least to the most, by the manifest's limits; none
/// for what they do not speak of.
fn promised(
    manifest: &EnginesManifest,
    engine: &EngineEntry,
    symbol: &str,
) -> Option<(usize, usize)> {
    let limits = &manifest.limits;
    let scales = manifest.bundle.model.vision.scales.iter();
    let crops = scales.fold(0usize, |sum, scale| sum.saturating_add(scale.saturating_mul(*scale)));
    Some(match symbol {
        names::IMAGES => (1, limits.max_images),
        names::CROPS => (crops, crops.saturating_mul(limits.max_images)),
        names::BATCH => (1, limits.batch),
        names::SEQUENCE if engine.pass == Pass::Decode => (1, 1),
        names::SEQUENCE => (1, limits.max_prompt_at(engine.attended)),
        names::MAX_SEQUENCE => (limits.max_context, limits.max_context),
        names::ATTENDED => match engine.attended {
            Some(rung) => (rung, rung),
            None => (*limits.attended.first()?, limits.max_context),
        },
        _ => return None,
    })
}
