//! Finds the configuration of the vision tower that a checkpoint names.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::MAX_CONFIG;
use super::keys::Keys;
use crate::error::{ConfigProblemKind, Error};
use crate::json;
use crate::shown::shown;

/// OpenAI's CLIP towers: name, hidden size, intermediate size, layers, heads, image, patch.
/// From the `config.json` of each on the Hugging Face hub.
const KNOWN: [(&str, usize, usize, usize, usize, usize, usize); 4] = [
    ("openai/clip-vit-base-patch32", 768, 3072, 12, 12, 224, 32),
    ("openai/clip-vit-base-patch16", 768, 3072, 12, 12, 224, 16),
    ("openai/clip-vit-large-patch14", 1024, 4096, 24, 16, 224, 14),
    ("openai/clip-vit-large-patch14-336", 1024, 4096, 24, 16, 336, 14),
];

/// The two files of a CLIP tower, not yet read into types.
pub(super) struct Tower {
    /// Where the files are; none for a tower that is known by its name.
    pub(super) folder: Option<PathBuf>,
    /// Of `config.json`.
    pub(super) config_path: PathBuf,
    /// CLIP's vision configuration.
    pub(super) config: Map<String, Value>,
    /// `vision_config.` where it is part of a whole CLIP's.
    pub(super) prefix: &'static str,
    /// Of `preprocessor_config.json`.
    pub(super) preprocessor_path: PathBuf,
    pub(super) preprocessor: Map<String, Value>,
}

impl Tower {
    /// Finds the tower that the checkpoint in `dir` names; `None` after a problem was noted.
    ///
    /// # Errors
    ///
    /// A file of the tower cannot be read or is no JSON object.
    pub(super) fn find(
        keys: &mut Keys<'_>,
        dir: &Path,
        clip: Option<&Path>,
    ) -> Result<Option<Self>, Error> {
        // The original takes `vision_tower` where the first is absent.
        let key =
            if keys.get("mm_vision_tower").is_some() { "mm_vision_tower" } else { "vision_tower" };
        let Some(name) = keys.text(key) else {
            if keys.get(key).is_none() {
                let want = "a CLIP tower's hub name or folder";
                keys.problem("mm_vision_tower", ConfigProblemKind::Missing { want });
            }
            return Ok(None);
        };
        let folder = dir.join(name);
        if !name.is_empty() && folder.join("config.json").exists() {
            return Self::read(keys, &folder).map(Some);
        }
        if let Some(known) = Self::known(name) {
            return Ok(Some(known));
        }
        if let Some(clip) = clip.filter(|clip| clip.join("config.json").exists()) {
            return Self::read(keys, clip).map(Some);
        }
        let lower = name.to_lowercase();
        if let Some(other) = OTHER_TOWERS.iter().find(|other| lower.contains(*other)) {
            keys.not_supported(key, format!("the tower must be CLIP's, this one is {other}"));
            return Ok(None);
        }
        let names: Vec<_> = KNOWN.iter().map(|known| known.0).collect();
        let kind = ConfigProblemKind::NoTower {
            got: shown(name),
            looked_at: dir.join(shown(name)).display().to_string(),
            known: names.join(", "),
        };
        keys.problem(key, kind);
        Ok(None)
    }

    fn read(keys: &mut Keys<'_>, folder: &Path) -> Result<Self, Error> {
        let config_path = folder.join("config.json");
        let mut config: Map<String, Value> = json::read(&config_path, MAX_CONFIG)?;
        let mut keys = keys.of(&config_path, &config, "");
        match keys.text("model_type") {
            None | Some("clip_vision_model" | "clip") => {}
            Some(_) => keys.not_supported("model_type", "the vision tower must be CLIP's"),
        }
        let mut prefix = "";
        if let Some(Value::Object(vision)) = config.remove("vision_config") {
            config = vision;
            prefix = "vision_config.";
        }
        let preprocessor_path = folder.join("preprocessor_config.json");
        let preprocessor = json::read(&preprocessor_path, MAX_CONFIG)?;
        let folder = Some(folder.to_owned());
        Ok(Self { folder, config_path, config, prefix, preprocessor_path, preprocessor })
    }

    /// The tower with the hub name `name`, as published.
    fn known(name: &str) -> Option<Self> {
        let (name, hidden, intermediate, layers, heads, image, patch) =
            KNOWN.into_iter().find(|known| known.0 == name)?;
        let object = |value| match value {
            Value::Object(map) => map,
            _ => Map::new(),
        };
        let config = object(json!({
            "hidden_size": hidden,
            "intermediate_size": intermediate,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "image_size": image,
            "patch_size": patch,
        }));
        let preprocessor = object(json!({ "size": image, "crop_size": image }));
        Some(Self {
            folder: None,
            config_path: name.into(),
            config,
            prefix: "",
            preprocessor_path: name.into(),
            preprocessor,
        })
    }
}

/// Words by which other towers are known.
const OTHER_TOWERS: [&str; 7] =
    ["siglip", "dinov2", "eva", "internvit", "convnext", "imagebind", "languagebind"];
