//! The CLIP vision tower over several scales: `pixel_values` to `image_features`.

pub(crate) mod crops;
pub(crate) mod embeddings;
pub(crate) mod layer;
pub(crate) mod merge;

use cumo_bundle::names;
use cumo_checkpoint::VisionConfig;
use cumo_checkpoint::model::Vision;
use cumo_onnx::{DType, dims};

use crate::builder::ModelBuilder;
use crate::error::Error;

/// Builds the graph: `pixel_values` `[images, 3, size, size]` f32 to `image_features`
/// `[images, tokens, channels * scales]` f32.
///
/// All crops of all scales go through the layers as one batch. What comes out is the state before
/// CLIP's last layer, as in the original.
///
/// # Errors
/// Sizes that do not fit.
pub fn build(
    b: &mut ModelBuilder<'_>,
    vision: &Vision,
    config: &VisionConfig,
) -> Result<(), Error> {
    b.scope("vision", |b| {
        let size = config.image_size;
        let shape = dims![names::IMAGES, 3, size, size];
        let pixels = b.g.input(names::PIXEL_VALUES, DType::F32, shape)?;
        let crops = b.scope("crops", |b| crops::cut(b, &pixels, config))?;
        let mut x = b.scope("embeddings", |b| embeddings::embed(b, &crops, vision, config))?;
        x = b.scope("layers", |b| layer::run(b, x, vision, config))?;
        let features = b.scope("merge", |b| merge::merge(b, &x, config))?;
        let channels = config.hidden_size * config.scales.len();
        let shape = dims![names::IMAGES, config.image_tokens(), channels];
        Ok(b.g.output(names::IMAGE_FEATURES, &features, DType::F32, shape)?)
    })
}
