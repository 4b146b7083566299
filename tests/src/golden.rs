//! The goldens: small random checkpoints and what the original code computes on them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cumo_runtime::HostTensor;
use safetensors::tensor::{Dtype, SafeTensors};
use serde::Deserialize;

/// One golden folder, read whole.
#[derive(Debug)]
pub struct Golden {
    /// The folder's name.
    pub name: String,
    folder: PathBuf,
    /// Prompts by name.
    pub prompts: BTreeMap<String, Prompt>,
    tensors: BTreeMap<String, HostTensor>,
}

/// A prompt and the tokens that greedy decoding gives.
#[derive(Debug, Clone, Deserialize)]
pub struct Prompt {
    /// Ids, with -200 for an image.
    pub input_ids: Vec<i64>,
    /// Images in the order of their places.
    pub images: Vec<String>,
    /// The original's answer; it goes on behind EOS.
    pub greedy_tokens: Vec<u32>,
}

impl Golden {
    /// The folder of all goldens.
    pub fn root() -> PathBuf {
        crate::folder().join("goldens")
    }

    /// Every golden, found by walking the folder.
    pub fn all() -> Vec<Golden> {
        let entries = fs::read_dir(Golden::root()).unwrap();
        let mut folders: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        folders.retain(|folder| folder.join("goldens.json").is_file());
        folders.sort();
        assert!(!folders.is_empty(), "no goldens in {}", Golden::root().display());
        folders.iter().map(|folder| Golden::read(folder)).collect()
    }

    fn read(folder: &Path) -> Golden {
        let text = fs::read_to_string(folder.join("goldens.json")).unwrap();
        let facts: serde_json::Value = serde_json::from_str(&text).unwrap();
        let prompt = |(name, value): (&String, &serde_json::Value)| {
            let prompt = serde_json::from_value(value.clone()).ok()?;
            Some((name.clone(), prompt))
        };
        let bytes = fs::read(folder.join("goldens.safetensors")).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let tensors = tensors.tensors().into_iter().map(|(name, view)| {
            let values = match view.dtype() {
                Dtype::F32 => {
                    let (chunks, _) = view.data().as_chunks::<4>();
                    chunks.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
                }
                Dtype::I64 => {
                    let (chunks, _) = view.data().as_chunks::<8>();
                    chunks.iter().map(|bytes| i64::from_le_bytes(*bytes) as f32).collect()
                }
                other => panic!("{name} is {other:?}"),
            };
            (name, HostTensor { shape: view.shape().to_vec(), values })
        });
        let golden = Golden {
            name: folder.file_name().unwrap().to_string_lossy().into_owned(),
            folder: folder.to_owned(),
            prompts: facts["prompts"].as_object().unwrap().iter().filter_map(prompt).collect(),
            tensors: tensors.collect(),
        };
        assert_eq!(golden.prompts.len(), 4, "{}", golden.name);
        golden
    }

    /// The checkpoint's folder.
    pub fn checkpoint(&self) -> PathBuf {
        self.folder.join("checkpoint")
    }

    /// An image's file.
    pub fn image(&self, name: &str) -> PathBuf {
        self.folder.join("images").join(format!("{name}.png"))
    }

    /// Names of the images.
    pub fn images(&self) -> Vec<String> {
        let prefix = "image_features.";
        self.tensors.keys().filter_map(|name| Some(name.strip_prefix(prefix)?.to_owned())).collect()
    }

    /// What the original computes under this name.
    pub fn tensor(&self, name: &str) -> &HostTensor {
        self.tensors.get(name).unwrap_or_else(|| panic!("{} has no `{name}`", self.name))
    }

    /// Names of all tensors.
    pub fn tensor_names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }
}
