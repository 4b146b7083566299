//! The plan: which graphs run, in which order, and what their inputs and outputs are bound to.
//!
//! One executor in the runtime walks it, whatever the target. A portable bundle has a handful of
//! steps; a bundle of layer engines has one a layer: many steps of one graph, which is loaded once,
//! with other weights each.
//!
//! # Activations
//!
//! An activation is one piece of memory, as large as any step needs it, for all steps that name it;
//! the last step that made it says what it holds. So a chain of layers needs two names that
//! alternate (layer `i` reads `hidden_states.{i % 2}` and makes `hidden_states.{(i + 1) % 2}`),
//! and a step must not make what it reads: a graph may write an output before it has read all of
//! its inputs. Names are free, and may be used again in another phase, except those in
//! [`crate::names`]: the runtime gives `pixel_values` to the first phase, `input_ids` to the
//! second, and `attention_mask`, `position_ids`, `write_indices` and `cache_positions` to the third
//! (those that it reads), and no step may make one of these. An activation keeps its type.
//!
//! # The cache
//!
//! A step that reads a slot of [`CacheUpdate::InPlace`] and writes it is given the same memory for
//! both. In a plan with [`Plan::attended`], slots have room for a rung's positions, and the symbol
//! [`crate::names::ATTENDED`] stands for the rung that a pass needs. Where it stands for the positions
//! of a slot, rows lie as far apart as the pass looks, so that a graph reads nothing else and copies
//! no part of them: the slot's memory is as large as the longest rung needs it and stays where it is,
//! and the runtime moves the rows in it before a pass that needs another rung than the last one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::manifest::{Dim, Dtype};
use crate::names;

/// Everything that runs, by phase, and the cache that the phases share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The key/value cache, one slot a tensor.
    pub cache: Vec<CacheSlot>,
    /// Images to embeddings: reads `pixel_values`, leaves `image_features` and `image_embeds`.
    pub encode_images: Vec<Step>,
    /// Token ids to embeddings: reads `input_ids`, leaves `inputs_embeds`.
    pub embed_tokens: Vec<Step>,
    /// Embeddings to logits, for a prompt or for one token: reads `inputs_embeds`,
    /// `attention_mask`, `position_ids`, `write_indices`, `cache_positions` (those it needs) and
    /// the cache, leaves `logits` and an updated cache.
    pub decode: Vec<Step>,
    /// The ladder of cache lengths: [`crate::names::ATTENDED`] is one of these, in every pass the
    /// smallest that holds all positions. Strictly increasing, the last is the model's
    /// `context_length`; empty where no graph has the symbol.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attended: Vec<usize>,
}

impl Plan {
    /// The steps of one phase.
    pub fn steps(&self, phase: Phase) -> &[Step] {
        match phase {
            Phase::EncodeImages => &self.encode_images,
            Phase::EmbedTokens => &self.embed_tokens,
            Phase::Decode => &self.decode,
        }
    }
}

/// A part of the plan that is run on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// Pixels to image embeddings.
    EncodeImages,
    /// Token ids to embeddings.
    EmbedTokens,
    /// Embeddings and cache to logits and cache.
    Decode,
}

impl Phase {
    /// Every phase, in the order of the data.
    pub const ALL: [Phase; 3] = [Phase::EncodeImages, Phase::EmbedTokens, Phase::Decode];
}

/// One run of one graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The graph's name in the manifest.
    pub graph: String,
    /// What each of the graph's inputs reads.
    pub inputs: BTreeMap<String, Binding>,
    /// Where each of the graph's outputs goes. An output that is not named is not computed.
    pub outputs: BTreeMap<String, Binding>,
}

/// What an input or output of a step is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Binding {
    /// A tensor that lives for one pass of a phase, by name (see [`crate::names`]).
    Activation(String),
    /// A slot of the key/value cache, by name.
    Cache(String),
    /// A weight, by its name in [`crate::Manifest::weights`]; inputs only.
    Weight(String),
}

/// One tensor of the key/value cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheSlot {
    /// The slot's name, for example `past_key_values.0.key`.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Shape. The symbol `batch` is the number of sequences. The symbol that stands for the cached
    /// positions is one of [`CacheUpdate::positions`].
    pub shape: Vec<Dim>,
    /// How a step of the decode phase changes the slot.
    pub update: CacheUpdate,
}

/// How a decode step changes a cache slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheUpdate {
    /// Input and output are different tensors: the output is the input with the new positions
    /// behind it. The runtime keeps two buffers a slot and swaps them.
    Append,
    /// Input and output are the same memory, of the rung's or the longest context's size; the graph
    /// writes the new positions into it and copies nothing.
    InPlace,
    /// The input has the rung's or the longest context's size, the output is the new positions alone
    /// (the slot's shape with [`crate::names::SEQUENCE`] for the positions): the runtime writes them
    /// behind those that are cached, as soon as the step has run.
    Rows,
}

impl CacheUpdate {
    /// The symbols that may stand for the positions of a slot, and of an input bound to it.
    pub fn positions(self) -> &'static [&'static str] {
        match self {
            CacheUpdate::Append => &[names::PAST_SEQUENCE],
            CacheUpdate::InPlace | CacheUpdate::Rows => &[names::MAX_SEQUENCE, names::ATTENDED],
        }
    }

    /// The symbol that stands for the positions of an output bound to a slot, for whose own
    /// `positions` stands.
    pub fn output_positions(self, positions: &str) -> &str {
        match self {
            CacheUpdate::Append => names::TOTAL_SEQUENCE,
            CacheUpdate::InPlace => positions,
            CacheUpdate::Rows => names::SEQUENCE,
        }
    }
}
