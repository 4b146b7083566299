//! From images to the crops of every scale.

use cumo_bundle::names;
use cumo_checkpoint::VisionConfig;
use cumo_onnx::{Dim, ResizeCubic, To, Value};

use crate::builder::ModelBuilder;
use crate::error::Error;

/// Of `[images, 3, size, size]` f32, every scale's crops `[crops, 3, size, size]` f32: first those
/// of the first scale, and of one scale first crop 0 of every image, then crop 1 and so on, row by
/// row (`S2Wrapper.forward` of the original).
pub(crate) fn cut(
    b: &mut ModelBuilder<'_>,
    pixels: &Value,
    config: &VisionConfig,
) -> Result<Value, Error> {
    let mut crops = Vec::new();
    for scale in &config.scales {
        crops.push(match scale {
            1 => pixels.clone(),
            scale => b.scope(format!("scale[{scale}]"), |b| {
                cut_scale(b, pixels, *scale, config.image_size)
            })?,
        });
    }
    match crops.as_slice() {
        [only] => Ok(only.clone()),
        _ => Ok(b.g.concat(&crops.iter().collect::<Vec<_>>(), 0, names::CROPS.into())?),
    }
}

fn cut_scale(
    b: &mut ModelBuilder<'_>,
    pixels: &Value,
    scale: usize,
    size: usize,
) -> Result<Value, Error> {
    let large = b.g.resize_cubic(pixels, ResizeCubic { factor: scale, coefficient: -0.75 })?;
    let images: Dim = names::IMAGES.into();
    let parts = [
        To::Rest(images),
        To::Size(3),
        To::Size(scale),
        To::Size(size),
        To::Size(scale),
        To::Size(size),
    ];
    let grid = b.g.reshape(&large, &parts)?;
    let grid = b.g.transpose(&grid, &[2, 4, 0, 1, 3, 5])?;
    let parts = [
        To::Rest(format!("crops_of_scale_{scale}").as_str().into()),
        To::Size(3),
        To::Size(size),
        To::Size(size),
    ];
    Ok(b.g.reshape(&grid, &parts)?)
}
