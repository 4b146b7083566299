//! Bundles with one graph a kind of layer, whose weights are its inputs.
//!
//! A builder of engines is given a layer once, however many there are and however large they are;
//! the plan says which weights each step is run with.

mod assembly;
mod llm;
mod vision;
mod weights_file;

use cumo_bundle::{Dtype, Plan, names};
use cumo_checkpoint::Checkpoint;
use cumo_onnx::DType;

pub use assembly::{Assembly, Kind};
pub(crate) use weights_file::WeightsFile;

use crate::builder::RouterOutputs;
use crate::error::Error;
use crate::moe::{Body, Form};
use crate::part::PartName;
use crate::target::{LayerTarget, TensorRt, TensorRt103};
use crate::{connector, embed, signature};

/// Which of TensorRT's versions the graphs are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 10.15 and later, and TensorRT-RTX.
    Current,
    /// 10.3 to 10.14.
    V10_3,
}

/// How a mixture of experts is held by the graphs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MoeKind {
    /// As a node of our TensorRT plugin; a twin of the graph, with functions, serves ONNX Runtime.
    #[default]
    Plugin,
    /// As a function of standard operators: every expert on every token.
    Function,
}

/// What the graphs are to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerOptions {
    /// TensorRT's version.
    pub version: Version,
    /// How a mixture of experts is held.
    pub moe: MoeKind,
    /// What graphs give of their routers.
    pub router_outputs: RouterOutputs,
}

impl Version {
    fn spelling(self, moe: Form) -> Box<dyn LayerTarget> {
        match self {
            Version::Current => Box::new(TensorRt { moe }),
            Version::V10_3 => Box::new(TensorRt103 { moe }),
        }
    }
}

/// Builds every graph, and the plan that runs them; weights are not touched, only their shapes.
///
/// # Errors
/// [`Error::Graph`] where the model's sizes do not fit.
pub fn assemble(checkpoint: &Checkpoint, options: LayerOptions) -> Result<Assembly, Error> {
    let (model, config) = (&checkpoint.model, &checkpoint.config);
    let (main, twin) = match options.moe {
        MoeKind::Plugin => (Form::Plugin, Some(Form::Functions(Body::Sparse))),
        MoeKind::Function => (Form::Functions(Body::Dense), None),
    };
    let main = options.version.spelling(main);
    let twin = twin.map(|form| options.version.spelling(form));
    let mut assembly = Assembly::new(main, twin, options.router_outputs);
    let mut encode_images = vision::steps(&mut assembly, &model.vision, &config.vision)?;
    encode_images.push(assembly.add(
        ("connector", PartName::Connector, "model.mm_projector"),
        &[],
        &|b, _| connector::build(b, &model.connector, config, DType::F32),
    )?);
    let embed_tokens =
        vec![assembly.add(("embed_tokens", PartName::Embed, "model"), &[], &|b, _| {
            embed::build(b, &model.llm.embed_tokens)
        })?];
    let decode = llm::steps(&mut assembly, &model.llm, &config.llm)?;
    let update = assembly.spelling().cache_update(&config.llm);
    assembly.plan = Plan {
        cache: signature::cache_slots(&config.llm, Dtype::F16, update, names::ATTENDED),
        encode_images,
        embed_tokens,
        decode,
        attended: ladder(config.llm.max_position_embeddings),
    };
    Ok(assembly)
}

/// Positions of the shortest cache that is attended to.
const FIRST_RUNG: usize = 64;

/// Cache lengths that a pass may attend to: each twice the one before, up to the context's.
fn ladder(context_length: usize) -> Vec<usize> {
    let rungs = std::iter::successors(Some(FIRST_RUNG), |rung| rung.checked_mul(2));
    rungs.take_while(|rung| *rung < context_length).chain([context_length]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ladder_doubles_and_ends_at_the_context() {
        assert_eq!(ladder(300), [64, 128, 256, 300]);
        assert_eq!(ladder(128), [64, 128]);
        assert_eq!(ladder(10), [10]);
    }
}
