//! What is done with an image before the vision tower sees it.

use serde_json::Value;

use super::keys::{Keys, shown};
use super::tower::Tower;
use crate::error::ConfigProblemKind;

/// CLIP's published mean and deviation of the channels red, green, blue.
const MEAN: [f64; 3] = [0.48145466, 0.4578275, 0.40821073];
const STD: [f64; 3] = [0.26862954, 0.26130258, 0.27577711];

/// How an image becomes square.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AspectRatio {
    /// Padded with the mean colour, then resized.
    Pad,
    /// The short edge resized, then the centre cut out.
    Crop,
}

/// What is done with an image: made square, resized with PIL's bicubic filter, divided by 255,
/// the mean taken off, divided by the deviation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ImageConfig {
    /// Height and width, in pixels; the vision tower's.
    pub size: usize,
    /// Mean of red, green, blue, of values from 0 to 1.
    pub mean: [f32; 3],
    /// Deviation of red, green, blue.
    pub std: [f32; 3],
    /// How the image becomes square.
    pub aspect_ratio: AspectRatio,
}

impl ImageConfig {
    /// `keys` are the checkpoint's, `tower` has the preprocessor's.
    pub(super) fn read(keys: &mut Keys<'_>, tower: Option<&Tower>) -> Option<Self> {
        let aspect_ratio = aspect_ratio(keys);
        let tower = tower?;
        let image_size = tower.config.get("image_size").filter(|value| !value.is_null());
        let image_size = match image_size {
            None => Some(224),
            Some(size) => size.as_u64().and_then(|size| usize::try_from(size).ok()),
        };
        let mut keys = keys.of(&tower.preprocessor_path, &tower.preprocessor, "");
        let size = edge(&mut keys, "size");
        let crop_size = edge(&mut keys, "crop_size");
        for (key, got) in [("size", size), ("crop_size", crop_size)] {
            if let (Some(got), Some(want)) = (got, image_size)
                && got != want
            {
                let kind = ConfigProblemKind::Contradicts {
                    got: got.to_string(),
                    with: format!("the tower's `{}image_size`", tower.prefix),
                    other: want.to_string(),
                };
                keys.problem(key, kind);
            }
        }
        refuse_unsupported(&mut keys);
        let mean = channels(&mut keys, "image_mean", MEAN, -16.0..=16.0);
        let std = channels(&mut keys, "image_std", STD, 1e-6..=16.0);
        Some(Self { size: size?, mean: mean?, std: std?, aspect_ratio: aspect_ratio? })
    }
}

fn aspect_ratio(keys: &mut Keys<'_>) -> Option<AspectRatio> {
    match keys.text("image_aspect_ratio") {
        Some("pad") => Some(AspectRatio::Pad),
        Some(text) if text.starts_with("anyres") => {
            keys.not_supported(
                "image_aspect_ratio",
                "an image of any resolution would be cut into a changing number of tiles; `pad` \
                 and cropping (null) are known",
            );
            None
        }
        None if keys.get("image_aspect_ratio").is_some() => None,
        // The original leaves everything else to CLIP's processor, which crops.
        _ => Some(AspectRatio::Crop),
    }
}

/// A size that is a number or an object of the one edge or the two equal ones.
fn edge(keys: &mut Keys<'_>, key: &'static str) -> Option<usize> {
    let Some(value) = keys.get(key) else { return Some(224) };
    let Value::Object(sizes) = value else {
        return keys.count_value(key, value, 1..=1 << 14);
    };
    let edges: Vec<_> =
        ["shortest_edge", "height", "width"].iter().filter_map(|edge| sizes.get(*edge)).collect();
    let Some(&first) = edges.first() else {
        keys.wrong_type(key, value, "a number of pixels, a shortest edge, or height and width");
        return None;
    };
    if edges.iter().any(|edge| *edge != first) {
        keys.not_supported(key, "the tower's images are square");
        return None;
    }
    keys.count_value(key, first, 1..=1 << 14)
}

fn refuse_unsupported(keys: &mut Keys<'_>) {
    for key in ["do_resize", "do_center_crop", "do_rescale", "do_normalize"] {
        if keys.flag(key, true) == Some(false) {
            keys.not_supported(key, "images are always resized, cropped, scaled and normalised");
        }
    }
    // PIL's number for bicubic.
    if keys.count("resample", Some(3), 0..=5).is_some_and(|filter| filter != 3) {
        keys.not_supported("resample", "only PIL's bicubic filter, 3, is known");
    }
    let rescale = keys.number("rescale_factor", 1.0 / 255.0, 0.0..=1.0);
    if rescale.is_some_and(|factor| (factor * 255.0 - 1.0).abs() > 1e-6) {
        keys.not_supported("rescale_factor", "pixels are divided by 255");
    }
}

/// Three numbers, one a channel.
fn channels(
    keys: &mut Keys<'_>,
    key: &'static str,
    default: [f64; 3],
    range: std::ops::RangeInclusive<f64>,
) -> Option<[f32; 3]> {
    let Some(value) = keys.get(key) else { return Some(default.map(|number| number as f32)) };
    let Some([r, g, b]) = value.as_array().map(Vec::as_slice) else {
        let got = shown(value);
        keys.problem(key, ConfigProblemKind::Type { got, want: "a list of three numbers" });
        return None;
    };
    let [r, g, b] = [r, g, b].map(|value| keys.number_value(key, value, range.clone()));
    Some([r? as f32, g? as f32, b? as f32])
}
