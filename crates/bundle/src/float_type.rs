//! The precisions that a bundle can be exported in.

use crate::manifest::{Dtype, Target};

/// The type of a bundle's weights and activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FloatType {
    /// Single precision.
    F32,
    /// Half precision weights. Dense parts compute in it too, but for residuals, norms, softmax and
    /// logits; parts that route compute in f32. Graphs for TensorRT multiply in it everywhere.
    F16,
}

impl FloatType {
    /// Every precision, in the order of the help text.
    pub const ALL: [FloatType; 2] = [FloatType::F32, FloatType::F16];

    /// The precisions that a target's graphs can have.
    pub fn made_for(target: Target) -> &'static [FloatType] {
        match target {
            Target::Onnx | Target::OrtCpu => &FloatType::ALL,
            Target::Tensorrt | Target::Tensorrt103 => &[FloatType::F16],
        }
    }

    /// What a target is exported in where nothing is asked for.
    pub fn default_for(target: Target) -> FloatType {
        match target {
            Target::Onnx | Target::OrtCpu => FloatType::F32,
            Target::Tensorrt | Target::Tensorrt103 => FloatType::F16,
        }
    }

    /// The type's name on the command line.
    pub fn name(self) -> &'static str {
        self.stored().name()
    }

    /// The type that matrices are stored in.
    pub fn stored(self) -> Dtype {
        match self {
            FloatType::F32 => Dtype::F32,
            FloatType::F16 => Dtype::F16,
        }
    }
}
