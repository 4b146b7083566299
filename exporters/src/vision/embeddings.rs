//! Patches, class token, positions, and the norm before the layers.

use cumo_checkpoint::model::Vision;
use cumo_checkpoint::{Tensor, VisionConfig};
use cumo_onnx::{DType, Dim, To, Value, dims};

use crate::builder::ModelBuilder;
use crate::error::Error;

/// `[crops, 3, size, size]` f32 to `[crops, 1 + patches, channels]` f32, class token first
/// (`CLIPVisionEmbeddings` of transformers, then `pre_layrnorm`).
pub(crate) fn embed(
    b: &mut ModelBuilder<'_>,
    crops: &Value,
    vision: &Vision,
    config: &VisionConfig,
) -> Result<Value, Error> {
    let channels = config.hidden_size;
    let patches = b.target.embed_patches(b, crops, &vision.patch_embedding, config)?;

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

/// `[crops, patches, channels]` f32 by a convolution of f32.
pub(crate) fn by_convolution(
    b: &mut ModelBuilder<'_>,
    crops: &Value,
    weight: &Tensor,
    config: &VisionConfig,
) -> Result<Value, Error> {
    let weight = b.tensor_f32(weight)?;
    let patches = b.g.patch_conv(crops, &weight)?;
    let count = config.grid() * config.grid();
    let patches = b.g.reshape(&patches, &[To::Keep, To::Keep, To::Size(count)])?;
    Ok(b.g.transpose(&patches, &[0, 2, 1])?)
}

/// The same as a matrix product over patches: a convolution whose weights are inputs would sort them
/// anew in each run.
pub(crate) fn by_product(
    b: &mut ModelBuilder<'_>,
    crops: &Value,
    weight: &Tensor,
    config: &VisionConfig,
) -> Result<Value, Error> {
    let (grid, patch) = (config.grid(), config.patch_size);
    let mut x = crops.clone();
    let used = grid * patch;
    for axis in [2, 3] {
        if used < config.image_size {
            x = b.g.slice(&x, axis, (0, Some(used)), Dim::Fixed(used))?;
        }
    }
    let sides = [To::Size(grid), To::Size(patch), To::Size(grid), To::Size(patch)];
    let parts: Vec<To> = [To::Keep, To::Size(3)].into_iter().chain(sides).collect();
    let x = b.g.reshape(&x, &parts)?;
    let x = b.g.transpose(&x, &[0, 2, 4, 1, 3, 5])?;
    let parts = [To::Keep, To::Size(grid * grid), To::Size(3 * patch * patch)];
    let x = b.g.reshape(&x, &parts)?;
    b.times(&x, weight.name(), &[weight], DType::F32)
}
