//! From the crops' tokens to one grid of features for each image.

use cumo_bundle::names;
use cumo_checkpoint::{SelectFeature, VisionConfig};
use cumo_onnx::{Dim, To, Value};

use crate::builder::ModelBuilder;
use crate::error::Error;

/// `[crops, 1 + patches, channels]` to `[images, tokens, channels * scales]`: the class token is
/// dropped, each scale's crops are put together and averaged down to one crop's grid, and
/// the scales lie side by side on the channels.
pub(crate) fn merge(
    b: &mut ModelBuilder<'_>,
    x: &Value,
    config: &VisionConfig,
) -> Result<Value, Error> {
    let (tokens, channels) = (config.image_tokens(), config.hidden_size);
    let x = match config.select_feature {
        SelectFeature::ClsPatch => x.clone(),
        SelectFeature::Patch => {
            b.g.slice(x, 1, (1, Some(config.num_positions())), Dim::Fixed(tokens))?
        }
    };
    if config.scales == [1] {
        return Ok(x);
    }
    let per_image: usize = config.scales.iter().map(|scale| scale * scale).sum();
    let images: Dim = names::IMAGES.into();
    let parts = [To::Size(per_image), To::Rest(images), To::Size(tokens), To::Size(channels)];
    let x = b.g.reshape(&x, &parts)?;
    let (mut features, mut start) = (Vec::new(), 0);
    for scale in &config.scales {
        let count = scale * scale;
        let crops = b.g.slice(&x, 0, (start, Some(start + count)), Dim::Fixed(count))?;
        start += count;
        features.push(match scale {
            1 => b.g.squeeze(&crops, 0)?,
            scale => b.scope(format!("scale[{scale}]"), |b| average(b, &crops, *scale, config))?,
        });
    }
    let all = Dim::Fixed(channels * config.scales.len());
    Ok(b.g.concat(&features.iter().collect::<Vec<_>>(), 2, all)?)
}

/// `[scale * scale, images, patches, channels]` to `[images, patches, channels]`.
fn average(
    b: &mut ModelBuilder<'_>,
    crops: &Value,
    scale: usize,
    config: &VisionConfig,
) -> Result<Value, Error> {
    let (grid, channels) = (config.grid(), config.hidden_size);
    let images: Dim = names::IMAGES.into();
    let parts = [
        To::Size(scale),
        To::Size(scale),
        To::Rest(images.clone()),
        To::Size(grid),
        To::Size(grid),
        To::Size(channels),
    ];
    let tiles = b.g.reshape(crops, &parts)?;
    // Rows of crops and rows within them become the rows of one image, likewise columns.
    let tiles = b.g.transpose(&tiles, &[2, 0, 3, 1, 4, 5])?;
    let parts = [
        To::Rest(images),
        To::Size(grid),
        To::Size(scale),
        To::Size(grid),
        To::Size(scale),
        To::Size(channels),
    ];
    let windows = b.g.reshape(&tiles, &parts)?;
    let mean = b.g.reduce_mean(&windows, &[2, 4], false)?;
    Ok(b.g.reshape(&mean, &[To::Keep, To::Size(grid * grid), To::Size(channels)])?)
}
