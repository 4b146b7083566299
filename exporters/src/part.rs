//! The parts of a bundle: one graph each, with its weights.

use cumo_checkpoint::Checkpoint;
use cumo_onnx::{DType, Graph};

use crate::builder::ModelBuilder;
use crate::error::Error;
use crate::target::Target;
use crate::weight::Weight;
use crate::{connector, embed, llm, vision};

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
        format!("{}.onnx.data", self.name())
    }
}

/// A part, built.
pub struct Part {
    /// Which part it is.
    pub name: PartName,
    /// Its graph.
    pub graph: Graph,
    /// Its weights, in the order of the graph's initializers.
    pub weights: Vec<Weight>,
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
        dtype: DType,
        debug_outputs: bool,
    ) -> Result<Part, Error> {
        let mut b = ModelBuilder::new(dtype, target, debug_outputs);
        let (model, config) = (&checkpoint.model, &checkpoint.config);
        match name {
            PartName::Vision => vision::build(&mut b, &model.vision, &config.vision)?,
            PartName::Connector => connector::build(&mut b, &model.connector, config)?,
            PartName::Embed => embed::build(&mut b, &model.llm.embed_tokens)?,
            PartName::Llm => llm::build(&mut b, &model.llm, &config.llm)?,
        }
        let (graph, weights) = b.finish()?;
        Ok(Part { name, graph, weights })
    }
}
