//! A checkpoint's configuration: typed, with the defaults of the original's libraries, and
//! checked before anything is done with it.
//!
//! Defaults for absent keys are those of transformers 4.37 (`MistralConfig`, `MixtralConfig`,
//! `LlamaConfig`, `CLIPVisionConfig`, `CLIPImageProcessor`) and of CuMo's and LLaVA's code.

mod connector;
mod image;
mod keys;
mod llm;
mod tower;
mod vision;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

pub use self::connector::{ConnectorConfig, ConnectorKind};
pub use self::image::{AspectRatio, ImageConfig};
use self::keys::Keys;
pub use self::llm::{Family, LlmConfig};
pub use self::vision::{SelectFeature, VisionConfig};
use crate::error::{ConfigProblemKind, Error};
use crate::json;

/// Bytes that a configuration file may have. Real ones have a few thousand.
const MAX_CONFIG: u64 = 16 << 20;

/// Experts that all layers of a part may have together.
const MAX_EXPERTS: usize = 1 << 16;

/// A CuMo checkpoint's configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// As in `config.json`: `llava_mistral`, `llava_mixtral`, `llava_llama`.
    pub model_type: String,
    /// `conv_mode`, the conversation template that the model was trained with, where the checkpoint
    /// says; the original takes it on its command line.
    pub conv_mode: Option<String>,
    /// CLIP vision tower.
    pub vision: VisionConfig,
    /// The folder that the tower's configuration was read from; none where the tower is one of those
    /// that are known by their hub names.
    pub tower: Option<PathBuf>,
    /// Connector from image features to the LLM's embeddings.
    pub connector: ConnectorConfig,
    /// Decoder LLM.
    pub llm: LlmConfig,
    /// What is done with an image before the vision tower.
    pub image: ImageConfig,
}

/// A sparse mixture of experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MoeConfig {
    /// Experts of a layer.
    pub num_experts: usize,
    /// Experts that each token is sent to, from 1 to `num_experts`.
    pub num_experts_per_tok: usize,
}

impl Config {
    /// Reads `config.json` in `dir`, and the configuration of the vision tower that it names: a
    /// folder, absolute or relative to `dir`; a known hub name; or else the folder `clip`.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or a value is absurd, contradicts another or is not supported: all
    /// of it in one [`Error::Config`].
    pub fn read(dir: &Path, clip: Option<&Path>) -> Result<Self, Error> {
        let path = dir.join("config.json");
        let map: Map<String, Value> = json::read(&path, MAX_CONFIG)?;
        let mut problems = Vec::new();
        let mut keys = Keys::new(&path, &map, &mut problems);
        let model_type = keys.text("model_type").unwrap_or_default().to_owned();
        let conv_mode = keys.text("conv_mode").map(str::to_owned);
        refuse_unsupported(&mut keys);
        let moe = MoeKeys::read(&mut keys);
        let llm = LlmConfig::read(&mut keys, dir)?;
        let tower = tower::Tower::find(&mut keys, dir, clip)?;
        let vision = VisionConfig::read(&mut keys, tower.as_ref(), &moe);
        let image = ImageConfig::read(&mut keys, tower.as_ref());
        let connector = ConnectorConfig::read(&mut keys, vision.as_ref(), llm.as_ref(), &moe);
        match (vision, connector, llm, image) {
            (Some(vision), Some(connector), Some(llm), Some(image)) if problems.is_empty() => {
                let tower = tower.and_then(|tower| tower.folder);
                Ok(Self { model_type, conv_mode, vision, tower, connector, llm, image })
            }
            _ => Err(Error::Config { problems }),
        }
    }
}

/// `num_experts` and `num_selected`, which the tower and the connector share.
struct MoeKeys {
    config: Option<MoeConfig>,
}

impl MoeKeys {
    fn read(keys: &mut Keys<'_>) -> Self {
        // Dense checkpoints carry the keys too, with numbers that nothing uses.
        let used = keys.flag("clip_smoe", false) == Some(true)
            || keys.text("mm_projector_type") == Some("smoe_mlp");
        if !used {
            return Self { config: None };
        }
        let config = moe(keys, "num_experts", None, "num_selected", None);
        Self { config }
    }
}

/// Reads the numbers of experts, of all and of those that a token is sent to.
fn moe(
    keys: &mut Keys<'_>,
    experts_key: &'static str,
    experts_default: Option<usize>,
    selected_key: &'static str,
    selected_default: Option<usize>,
) -> Option<MoeConfig> {
    let num_experts = keys.count(experts_key, experts_default, 1..=MAX_EXPERTS);
    let most = num_experts.unwrap_or(MAX_EXPERTS);
    let num_experts_per_tok = keys.count(selected_key, selected_default, 1..=most);
    Some(MoeConfig { num_experts: num_experts?, num_experts_per_tok: num_experts_per_tok? })
}

/// Refuses experts that are too many in all layers together, before a tensor is looked for.
fn check_experts(keys: &mut Keys<'_>, key: &str, moe: Option<MoeConfig>, layers: usize) {
    let Some(MoeConfig { num_experts, .. }) = moe else { return };
    if num_experts.saturating_mul(layers) > MAX_EXPERTS {
        keys.problem(
            key,
            ConfigProblemKind::Range {
                got: format!("{num_experts} for {layers} layers"),
                low: "1".to_owned(),
                high: format!("{MAX_EXPERTS} in all layers together"),
            },
        );
    }
}

/// Names what LLaVA's relatives have and this toolchain has not.
fn refuse_unsupported(keys: &mut Keys<'_>) {
    let supported = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        _ => false,
    };
    let unsupported = [
        ("quantization_config", "weights must be plain f32, f16 or bf16"),
        ("mm_resampler_type", "CuMo has no resampler between tower and connector"),
        ("s2", "the tower of LLaVA's S2 splits and merges images in another way than `scales`"),
        (
            "mm_use_im_start_end",
            "images between `<im_start>` and `<im_end>` need ids that the tokenizer's file has not",
        ),
    ];
    for (key, because) in unsupported {
        if keys.get(key).is_some_and(|value| !supported(value)) {
            keys.not_supported(key, because);
        }
    }
    if keys.get("mm_vision_select_layer").is_some_and(|value| value.as_i64() != Some(-2)) {
        keys.not_supported(
            "mm_vision_select_layer",
            "CuMo's tower gives the state before its last layer, which is -2",
        );
    }
    match keys.text("mm_patch_merge_type") {
        None | Some("flat") => {}
        Some(_) => keys.not_supported(
            "mm_patch_merge_type",
            "images are not cut into tiles with tokens between them; only `flat` is known",
        ),
    }
}
