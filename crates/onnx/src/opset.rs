//! Versions of the standard operators.

/// The version of the standard operators that a model or function uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Opset {
    /// The first with LayerNormalization, so that a model runs wherever ONNX 1.12 (2022) does.
    #[default]
    V17,
    /// With Attention, RMSNormalization and RotaryEmbedding (23), Swish and TensorScatter (24):
    /// ONNX 1.19 (2025).
    V24,
}

impl Opset {
    /// The version's number.
    pub fn version(self) -> i64 {
        match self {
            Opset::V17 => 17,
            Opset::V24 => 24,
        }
    }

    /// The IR version of models of this opset: 8 is the first with model-local functions; 10, of
    /// ONNX 1.16, is the last that nothing in these models needs more than.
    pub fn ir_version(self) -> i64 {
        match self {
            Opset::V17 => 8,
            Opset::V24 => 10,
        }
    }
}
