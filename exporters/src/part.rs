//! The parts of a bundle: one graph each, with its weights.

use cumo_bundle::PartPrecision;
use cumo_checkpoint::{Checkpoint, Config, ConnectorKind};
use cumo_onnx::{DType, Graph};

use crate::builder::{Built, ModelBuilder, NamedWeight, RouterOutputs, Types, WeightsAs};
use crate::error::Error;
use crate::target::Target;
use crate::{connector, embed, llm, signature, vision};

/// A part of the model that is a graph of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartName {
    /// The vision tower.
    Vision,
    /// The connector.
    Connector,
    /// The token embedding.
    Embed,
    /// The decoder LLM.
    Llm,
}

impl PartName {
    /// Every part, in the order of the data.
    pub const ALL: [PartName; 4] =
        [PartName::Vision, PartName::Connector, PartName::Embed, PartName::Llm];

    /// The part's and its graph's name.
    pub fn name(self) -> &'static str {
        match self {
            PartName::Vision => "vision",
            PartName::Connector => "connector",
            PartName::Embed => "embed",
            PartName::Llm => "llm",
        }
    }

    /// The graph's file in the bundle.
    pub fn graph_file(self) -> String {
        format!("{}.onnx", self.name())
    }

    /// The weights' file in the bundle.
    pub fn data_file(self) -> String {
        data_file(self.name())
    }

    /// The type a part computes in, of weights stored as `stored`. A part that routes computes in
    /// f32: f16 is too coarse to tell near equal experts apart, and a token at the wrong expert is
    /// off by far more than rounding (a quarter of the largest feature, seen on small random
    /// models). The embedding gives what the LLM takes.
    fn compute_dtype(self, config: &Config, stored: DType) -> DType {
        let routes = match self {
            PartName::Vision => config.vision.moe.is_some(),
            PartName::Connector => matches!(config.connector.kind, ConnectorKind::Moe(_)),
            PartName::Embed | PartName::Llm => config.llm.moe.is_some(),
        };
        if routes { DType::F32 } else { stored }
    }
}

/// The file of a graph's constants.
pub(crate) fn data_file(graph: &str) -> String {
    format!("{graph}.onnx.data")
}

/// A part, built.
pub struct Part {
    /// Which part it is.
    pub name: PartName,
    /// The types it computes in and stores.
    pub precision: PartPrecision,
    /// Its graph.
    pub graph: Graph,
    /// Its weights, in the order of the graph's initializers.
    pub weights: Vec<NamedWeight>,
}

impl Part {
    /// Builds a part's graph; weights are not touched.
    ///
    /// # Errors
    /// [`Error::Graph`] where the model's sizes do not fit.
    pub fn build(
        name: PartName,
        checkpoint: &Checkpoint,
        target: &dyn Target,
        stored: DType,
        router_outputs: RouterOutputs,
    ) -> Result<Part, Error> {
        let (model, config) = (&checkpoint.model, &checkpoint.config);
        let dtype = name.compute_dtype(config, stored);
        let types = Types { product: dtype, between: dtype, stored };
        let mut b = ModelBuilder::new(types, WeightsAs::Constants, target, router_outputs);
        match name {
            PartName::Vision => vision::build(&mut b, &model.vision, &config.vision)?,
            PartName::Connector => {
                let embeds = PartName::Llm.compute_dtype(config, stored);
                connector::build(&mut b, &model.connector, config, embeds)?;
            }
            PartName::Embed => embed::build(&mut b, &model.llm.embed_tokens)?,
            PartName::Llm => llm::build(&mut b, &model.llm, &config.llm)?,
        }
        let Built { graph, weights, .. } = b.finish()?;
        let precision = PartPrecision {
            weights: signature::dtype(stored),
            activations: signature::dtype(dtype),
        };
        Ok(Part { name, precision, graph, weights })
    }
}
