//! The mixture that is measured.

use cumo_export::Activation;
use cumo_export::moe::MoeShape;
use cumo_onnx::DType;

/// A mixture of CuMo's tower: CLIP ViT-L's width and the width of its MLPs.
pub const fn clip_l(dtype: DType) -> MoeShape {
    MoeShape {
        num_experts: 4,
        num_experts_per_tok: 2,
        inputs: 1024,
        hidden: 4096,
        outputs: 1024,
        gated: false,
        biased: true,
        transposed: false,
        activation: Activation::QuickGelu,
        dtype,
    }
}
