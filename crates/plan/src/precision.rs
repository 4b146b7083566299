//! The precisions that a model can be exported in, and what each makes of its tensors.

use std::fmt;

use cumo_bundle::{CacheUpdate, Dtype, FloatType, Target};
use serde::{Serialize, Serializer};

use crate::sizes::ModelSizes;
use crate::weights::Part;

/// The most cosines that are tabulated; beyond, they are computed as they are needed.
pub(crate) const MAX_TABLE: u128 = 1 << 26;

/// A target's graphs in a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Precision {
    /// How the graphs are spelled.
    pub target: Target,
    /// The type of the weights.
    #[serde(serialize_with = "name")]
    pub dtype: FloatType,
}

fn name<S: Serializer>(dtype: &FloatType, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(dtype.name())
}

impl Precision {
    /// Every one that can be exported, those for a GPU first.
    pub fn all() -> Vec<Precision> {
        let of = |target: Target| {
            FloatType::made_for(target).iter().map(move |dtype| Precision { target, dtype: *dtype })
        };
        let mut all: Vec<Precision> = Target::ALL.into_iter().flat_map(of).collect();
        all.sort_by_key(|precision| !precision.is_for_engines());
        all
    }

    /// Whether engines are built of the graphs, which a GPU runs; a processor runs the others.
    pub fn is_for_engines(self) -> bool {
        matches!(self.target, Target::Tensorrt | Target::Tensorrt103)
    }

    /// The type in which a part multiplies. A part that routes multiplies in f32, but in engines.
    pub(crate) fn products(self, part: Part, sizes: &ModelSizes) -> Dtype {
        let routes = match part {
            Part::Vision => sizes.tower.moe.is_some(),
            Part::Connector => sizes.connector.moe.is_some(),
            Part::Embed | Part::Llm => sizes.llm.moe.is_some(),
        };
        match routes && !self.is_for_engines() {
            true => Dtype::F32,
            false => self.dtype.stored(),
        }
    }

    /// The type of what goes from product to product.
    pub(crate) fn between(self, part: Part, sizes: &ModelSizes) -> Dtype {
        match self.is_for_engines() {
            true => Dtype::F32,
            false => self.products(part, sizes),
        }
    }

    /// How a step changes the cache.
    pub(crate) fn cache_update(self, sizes: &ModelSizes) -> CacheUpdate {
        match self.target {
            Target::OrtCpu if self.has_cached_attention(sizes) => CacheUpdate::InPlace,
            Target::Onnx | Target::OrtCpu => CacheUpdate::Append,
            Target::Tensorrt => CacheUpdate::InPlace,
            Target::Tensorrt103 => CacheUpdate::Rows,
        }
    }

    /// Whether the LLM's attention is ONNX Runtime's operator over a cache in place, which has its
    /// cosines and sines from a table.
    pub(crate) fn has_cached_attention(self, sizes: &ModelSizes) -> bool {
        let llm = &sizes.llm;
        let table = llm.context * llm.half;
        self.target == Target::OrtCpu && (2 * llm.half).is_multiple_of(16) && table <= MAX_TABLE
    }

    /// How often the scores of all heads, `heads` with `channels` channels together, are held at
    /// once: as scores and as probabilities where attention is made of operators; once within ONNX
    /// Runtime's operator; not at all by TensorRT's, where there are kernels for the heads. Prompts
    /// of `tensorrt-10.3` are counted apart.
    pub(crate) fn scores_held(self, heads: u128, channels: u128) -> u128 {
        let head = channels / heads;
        let has_kernels = heads >= 4 && head.is_multiple_of(8) && (16..=256).contains(&head);
        match self.target {
            Target::Tensorrt if has_kernels => 0,
            Target::OrtCpu => 1,
            Target::Tensorrt | Target::Tensorrt103 | Target::Onnx => 2,
        }
    }

    /// The precision that a runtime makes of this one in memory: ONNX Runtime's kernels for
    /// processors multiply in f32, and it keeps f32 copies of matrices that are stored in less.
    pub(crate) fn in_memory(self) -> Precision {
        match self.is_for_engines() {
            true => self,
            false => Precision { dtype: FloatType::F32, ..self },
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.target, self.dtype.name())
    }
}
