//! How many tokens each router sends to each expert, in a pass of its own.

use std::path::PathBuf;

use cumo_bundle::{Binding, Manifest, MoeFacts, Phase, names};
use cumo_results::schema::ExpertLoad;

use crate::cancel::CancelToken;
use crate::error::Error;
use crate::executor::Executor;
use crate::generate::piece;
use crate::model::Model;
use crate::prompt::Prompt;

/// A router whose choices are an output of its graph.
struct Router {
    /// The activation that holds its choices, `[.., tokens, num_experts_per_tok]`.
    activation: String,
    phase: Phase,
    load: ExpertLoad,
}

/// Counts the choices of every router over the images and a prompt of `ids`, in the order in which
/// the routers run. Nothing where no graph gives them, as those that were exported with `--no-choices`.
///
/// # Errors
/// Those of [`Model::encode_images`] and [`Executor::forward`].
pub fn expert_load(
    model: &mut Model,
    images: &[PathBuf],
    ids: &[i64],
    cancel: &CancelToken,
) -> Result<Vec<ExpertLoad>, Error> {
    let mut routers = routers(model.executor().manifest());
    if routers.is_empty() {
        return Ok(Vec::new());
    }
    let prompt = Prompt::new(ids, images.len(), model.facts())?;
    model.forget()?;
    let mut embeds = Vec::new();
    let result = (|| {
        // An image at a time: an activation holds what the last pass has made.
        for image in images {
            let (encoded, _) = model.encode_images(std::slice::from_ref(image), cancel)?;
            embeds.extend(encoded);
            count(&mut routers, Phase::EncodeImages, model.executor())?;
        }
        cancel.arm(model.executor().interrupt());
        let piece = piece(model.executor());
        for chunk in prompt.positions().chunks(piece) {
            model.executor().forward(chunk, &embeds)?;
            count(&mut routers, Phase::Decode, model.executor())?;
        }
        Ok(())
    })();
    cancel.disarm();
    model.release_images(embeds);
    model.forget()?;
    result.map(|()| routers.into_iter().map(|router| router.load).collect())
}

/// The routers whose choices the plan's steps leave in activations.
fn routers(manifest: &Manifest) -> Vec<Router> {
    let mut routers: Vec<Router> = Vec::new();
    let facts = &manifest.model;
    for phase in [Phase::EncodeImages, Phase::Decode] {
        let (mut part, mut moe) = match phase {
            Phase::EncodeImages => ("vision", facts.vision.moe),
            _ => ("llm", facts.llm.moe),
        };
        for step in manifest.plan.steps(phase) {
            // In the graph's order, in which the routers run; a map has its own.
            let outputs = manifest.graphs.get(&step.graph).map(|graph| graph.outputs.as_slice());
            for output in outputs.unwrap_or_default() {
                let Some(Binding::Activation(name)) = step.outputs.get(&output.name) else {
                    continue;
                };
                if names::is_router_experts(name) {
                    let layer = routers.iter().filter(|router| router.load.part == part).count();
                    routers.push(Router::new(name, phase, part, layer, moe));
                }
            }
            let makes_features = |binding: &Binding| matches!(binding, Binding::Activation(name) if name == names::IMAGE_FEATURES);
            if step.outputs.values().any(makes_features) {
                (part, moe) = ("connector", facts.vision.connector_moe);
            }
        }
    }
    routers
}

impl Router {
    fn new(name: &str, phase: Phase, part: &str, layer: usize, moe: Option<MoeFacts>) -> Self {
        let experts = moe.map_or(0, |moe| moe.num_experts);
        let load = ExpertLoad {
            part: part.to_owned(),
            layer: layer as u64,
            tokens_per_expert: vec![0; experts],
        };
        Router { activation: name.to_owned(), phase, load }
    }
}

/// Adds the choices of the last pass of a phase.
fn count(routers: &mut [Router], phase: Phase, executor: &mut Executor) -> Result<(), Error> {
    for router in routers.iter_mut().filter(|router| router.phase == phase) {
        let chosen = executor.activation(&router.activation)?;
        for expert in chosen.values {
            // Whole numbers, read as f32, which holds those of experts exactly.
            if let Some(count) = router.load.tokens_per_expert.get_mut(expert as usize) {
                *count += 1;
            }
        }
    }
    Ok(())
}
