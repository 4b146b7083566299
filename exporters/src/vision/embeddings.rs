//! Patches, class token, positions, and the norm before the layers.

use cumo_checkpoint::VisionConfig;
use cumo_checkpoint::model::Vision;
use cumo_onnx::{Dim, To, Value, dims};

use crate::builder::ModelBuilder;
use crate::error::Error;

/// `[crops, 3, size, size]` f32 to `[crops, 1 + patches, channels]` f32, class token first
/// (`CLIPVisionEmbeddings` of transformers, then `pre_layrnorm`).
pub(super) fn embed(
    b: &mut ModelBuilder<'_>,
    crops: &Value,
    vision: &Vision,
    config: &VisionConfig,
) -> Result<Value, Error> {
    let (channels, grid) = (config.hidden_size, config.grid());
    let weight = b.tensor_f32(&vision.patch_embedding)?;
    let patches = b.g.patch_conv(crops, &weight)?;
    let patches = b.g.reshape(&patches, &[To::Keep, To::Keep, To::Size(grid * grid)])?;
    let patches = b.g.transpose(&patches, &[0, 2, 1])?;

    let count = b.g.size_of(crops, 0)?;
    let one_token = b.g.ints(&[1, channels as i64]);
    let target = b.g.concat(&[&count, &one_token], 0, Dim::Fixed(3))?;
    let class = b.tensor_f32(&vision.class_embedding)?;
    let number = crops.shape().dims()[0].clone();
    let class = b.g.expand(&class, &target, vec![number, Dim::Fixed(1), Dim::Fixed(channels)])?;

    let tokens = b.g.concat(&[&class, &patches], 1, Dim::Fixed(config.num_positions()))?;
    let positions = b.tensor_f32(&vision.position_embedding)?;
    debug_assert_eq!(positions.shape().dims(), dims![config.num_positions(), channels].as_slice());
    let tokens = b.g.add_values(&tokens, &positions)?;
    b.layer_norm(&tokens, &vision.pre_layernorm, config.layer_norm_eps)
}
