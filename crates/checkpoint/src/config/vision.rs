//! The CLIP vision tower's configuration.

use serde_json::Value;

use super::keys::Keys;
use super::tower::Tower;
use super::{MoeConfig, MoeKeys, check_experts};
use crate::error::ConfigProblemKind;

/// Scales that a checkpoint may have, and the largest.
const MAX_SCALES: usize = 64;

/// Which of the tower's tokens go to the connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SelectFeature {
    /// `patch`: all but the class token.
    Patch,
    /// `cls_patch`: all. Only with the single scale 1.
    ClsPatch,
}

/// The CLIP vision tower.
#[derive(Debug, Clone, PartialEq)]
pub struct VisionConfig {
    /// Channels.
    pub hidden_size: usize,
    /// Channels within an MLP or expert.
    pub intermediate_size: usize,
    /// Layers as configured. The last is never run: [`crate::model::Vision::layers`] has one less.
    pub num_hidden_layers: usize,
    /// Attention heads; divides `hidden_size`.
    pub num_attention_heads: usize,
    /// Height and width of a crop, in pixels.
    pub image_size: usize,
    /// Height and width of a patch, in pixels; at most `image_size`.
    pub patch_size: usize,
    /// Added to the variance in layer norms.
    pub layer_norm_eps: f32,
    /// Scales at which the image is seen, in the order of their channels. The first is 1.
    pub scales: Vec<usize>,
    /// Which tokens go to the connector.
    pub select_feature: SelectFeature,
    /// Experts of every layer; none for a dense tower.
    pub moe: Option<MoeConfig>,
}

impl VisionConfig {
    /// Patches in a row of a crop: `image_size / patch_size`, what is left over being dropped as
    /// the patch convolution does.
    pub fn grid(&self) -> usize {
        self.image_size / self.patch_size
    }

    /// Tokens of an image that go to the connector.
    pub fn image_tokens(&self) -> usize {
        match self.select_feature {
            SelectFeature::Patch => self.grid() * self.grid(),
            SelectFeature::ClsPatch => self.num_positions(),
        }
    }

    /// Positions of a crop: the class token and every patch.
    pub fn num_positions(&self) -> usize {
        1 + self.grid() * self.grid()
    }

    /// `keys` are the checkpoint's, `tower` the configuration that it names.
    pub(super) fn read(keys: &mut Keys<'_>, tower: Option<&Tower>, moe: &MoeKeys) -> Option<Self> {
        let scales = scales(keys);
        let select_feature = select_feature(keys, scales.as_deref());
        let clip_smoe = keys.flag("clip_smoe", false);
        let tower = tower?;
        let mut clip = keys.of(&tower.config_path, &tower.config, tower.prefix);
        let hidden_size = clip.count("hidden_size", Some(768), 1..=1 << 20);
        let intermediate_size = clip.count("intermediate_size", Some(3072), 1..=1 << 22);
        let num_hidden_layers = clip.count("num_hidden_layers", Some(12), 1..=1024);
        let num_attention_heads = clip.count("num_attention_heads", Some(12), 1..=1 << 14);
        let image_size = clip.count("image_size", Some(224), 1..=1 << 14);
        let patch_size = clip.count("patch_size", Some(32), 1..=image_size.unwrap_or(1 << 14));
        let layer_norm_eps = clip.number("layer_norm_eps", 1e-5, 0.0..=1.0);
        if let (Some(got), Some(divisor)) = (hidden_size, num_attention_heads)
            && got % divisor != 0
        {
            let by = "num_attention_heads";
            clip.problem("hidden_size", ConfigProblemKind::NotDivisible { got, by, divisor });
        }
        if clip.count("num_channels", Some(3), 1..=1024).is_some_and(|channels| channels != 3) {
            clip.not_supported("num_channels", "images are RGB");
        }
        match clip.text("hidden_act") {
            None | Some("quick_gelu") => {}
            Some(_) => clip.not_supported("hidden_act", "CuMo's CLIP has `quick_gelu`"),
        }
        let moe = if clip_smoe? { Some(moe.config?) } else { None };
        check_experts(keys, "num_experts", moe, num_hidden_layers?);
        Some(Self {
            hidden_size: hidden_size?,
            intermediate_size: intermediate_size?,
            num_hidden_layers: num_hidden_layers?,
            num_attention_heads: num_attention_heads?,
            image_size: image_size?,
            patch_size: patch_size?,
            layer_norm_eps: layer_norm_eps? as f32,
            scales: scales?,
            select_feature: select_feature?,
            moe,
        })
    }
}

/// `scales`; LLaVA's checkpoints have none, which is the image as it is.
fn scales(keys: &mut Keys<'_>) -> Option<Vec<usize>> {
    const WANT: &str = "a list of whole numbers, such as [1, 3]";
    let Some(value) = keys.get("scales") else { return Some(vec![1]) };
    let Value::Array(list) = value else {
        keys.wrong_type("scales", value, WANT);
        return None;
    };
    if list.is_empty() || list.len() > MAX_SCALES {
        let (low, high) = ("1".to_owned(), MAX_SCALES.to_string());
        let got = format!("a list of {}", list.len());
        keys.problem("scales", ConfigProblemKind::Range { got, low, high });
        return None;
    }
    let scales: Option<Vec<usize>> =
        list.iter().map(|scale| keys.count_value("scales", scale, 1..=MAX_SCALES)).collect();
    let scales = scales?;
    if scales.first() != Some(&1) {
        keys.not_supported(
            "scales",
            "the original takes the image as it is for the first scale, whatever its number; \
             it must be 1",
        );
    }
    Some(scales)
}

fn select_feature(keys: &mut Keys<'_>, scales: Option<&[usize]>) -> Option<SelectFeature> {
    match keys.text("mm_vision_select_feature") {
        None if keys.get("mm_vision_select_feature").is_some() => None,
        None | Some("patch") => Some(SelectFeature::Patch),
        Some("cls_patch") => {
            if scales.is_some_and(|scales| scales != [1]) {
                keys.not_supported(
                    "mm_vision_select_feature",
                    "with `scales` other than [1] the class token has no place in the grid of \
                     tokens; take `patch`",
                );
            }
            Some(SelectFeature::ClsPatch)
        }
        Some(_) => {
            keys.not_supported(
                "mm_vision_select_feature",
                "only `patch` and `cls_patch` are known",
            );
            None
        }
    }
}
