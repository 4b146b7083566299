//! Opens a checkpoint.

use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::error::Error;
use crate::model::Model;
use crate::parts::Parts;
use crate::tensor::{Tensor, UnusedTensor};
use crate::typed;

/// The folders that a checkpoint is read from.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The checkpoint's own folder, with its `config.json`.
    pub checkpoint: PathBuf,
    /// The base LLM's folder, for a checkpoint without the LLM's weights.
    pub llm: Option<PathBuf>,
    /// CLIP's folder, for a checkpoint without the tower's weights or configuration.
    pub clip: Option<PathBuf>,
}

/// A trained CuMo model, opened and checked. Its weights are mapped, not read.
///
/// The files must not change while this or any [`Tensor`] of it lives.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// Configuration, checked.
    pub config: Config,
    /// Every tensor that inference needs.
    pub model: Model,
    /// What is there and not needed at inference: the tower's last layer and what follows it,
    /// buffers, other models' parts; by name.
    pub unused: Vec<UnusedTensor>,
    /// The tokenizer's file, if the checkpoint or the LLM's folder has one.
    pub tokenizer: Option<TokenizerFile>,
    /// The name of the checkpoint's folder, or, where that says nothing (`checkpoint-1000`), of the
    /// folder around it, unless that says nothing either.
    pub name: String,
}

/// Where a checkpoint's tokenizer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenizerFile {
    /// The file.
    pub path: PathBuf,
    /// Its format.
    pub kind: TokenizerKind,
}

/// Format of a tokenizer's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenizerKind {
    /// `tokenizer.model`, SentencePiece; taken where both are there, as in the original.
    SentencePiece,
    /// `tokenizer.json`, of the library `tokenizers`.
    Json,
}

impl Checkpoint {
    /// Opens the checkpoint: reads its configuration, maps its weights, and checks that each
    /// tensor of the configured model is there once, with its shape.
    ///
    /// # Errors
    ///
    /// See [`Error`]. Problems of the configuration are reported before those of the tensors.
    pub fn open(sources: &Sources) -> Result<Self, Error> {
        let Sources { checkpoint, llm, clip } = sources;
        for folder in [Some(checkpoint), llm.as_ref(), clip.as_ref()].into_iter().flatten() {
            let metadata = std::fs::metadata(folder)
                .map_err(|source| Error::Read { path: folder.clone(), source })?;
            if !metadata.is_dir() {
                return Err(Error::NotAFolder { path: folder.clone() });
            }
        }
        let config = Config::read(checkpoint, clip.as_deref())?;
        let parts = Parts::gather(sources)?;
        let (model, unused) = typed::build(&config, parts)?;
        let tokenizer = first_tokenizer(sources)?;
        Ok(Self { config, model, unused, tokenizer, name: name(checkpoint) })
    }

    /// The model that a configuration describes, where no weights are at hand: its tensors have names
    /// and shapes, and no bytes. Graphs and plans can be built of it.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] and those of reading it.
    pub fn shapes(sources: &Sources) -> Result<Self, Error> {
        let Sources { checkpoint, clip, .. } = sources;
        let config = Config::read(checkpoint, clip.as_deref())?;
        let model = typed::imagine(&config);
        let tokenizer = first_tokenizer(sources)?;
        Ok(Self { config, model, unused: Vec::new(), tokenizer, name: name(checkpoint) })
    }

    /// Whether weights, the tokenizer or the tower's configuration come from `folder`, written as it
    /// was in the [`Sources`].
    pub fn uses(&self, folder: &Path) -> bool {
        let within = |file: &Path| file.parent() == Some(folder);
        self.tensors().any(|tensor| within(tensor.file()))
            || self.tokenizer.as_ref().is_some_and(|tokenizer| within(&tokenizer.path))
            || self.config.tower.as_deref() == Some(folder)
    }

    /// All tensors that inference needs, each once: vision, connector, LLM, in the order in which
    /// they are used.
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        let mut tensors = self.model.vision.tensors();
        tensors.extend(self.model.connector.tensors());
        tensors.extend(self.model.llm.tensors());
        tensors.into_iter()
    }
}

/// The tokenizer's file of the checkpoint, or of its LLM.
fn first_tokenizer(sources: &Sources) -> Result<Option<TokenizerFile>, Error> {
    let folders = [Some(&sources.checkpoint), sources.llm.as_ref()].into_iter().flatten();
    folders.map(|folder| tokenizer(folder)).find_map(Result::transpose).transpose()
}

/// The tokenizer's file in `folder`, if it has one.
///
/// # Errors
///
/// Something else bears its name, or a link to nothing.
fn tokenizer(folder: &Path) -> Result<Option<TokenizerFile>, Error> {
    let kinds = [
        ("tokenizer.model", TokenizerKind::SentencePiece),
        ("tokenizer.json", TokenizerKind::Json),
    ];
    let mut files =
        kinds.into_iter().map(|(name, kind)| TokenizerFile { path: folder.join(name), kind });
    match files.find(|file| file.path.symlink_metadata().is_ok()) {
        Some(file) if !file.path.is_file() => Err(Error::NotAFile { path: file.path }),
        file => Ok(file),
    }
}

/// The folder's own name, also of `.`; that of the one around it where only that says something.
fn name(folder: &Path) -> String {
    let whole = folder.canonicalize();
    let folder = whole.as_deref().unwrap_or(folder);
    let name = |folder: &Path| folder.file_name().map(|name| name.to_string_lossy().into_owned());
    let own = name(folder).unwrap_or_default();
    let around = || folder.parent().and_then(name).filter(|name| !is_generic(name));
    if is_generic(&own) { around().unwrap_or(own) } else { own }
}

/// Whether training scripts call any model's folder so.
fn is_generic(name: &str) -> bool {
    let base = name.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches(['-', '_']);
    ["checkpoint", "checkpoints", "model", "output", "final"].contains(&base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folders_name_that_says_nothing_gives_way_to_the_one_around_it() {
        let name = |path: &str| name(Path::new(path));
        assert_eq!(name("/nowhere/cumo-7b"), "cumo-7b");
        assert_eq!(name("/nowhere/cumo-7b/checkpoint"), "cumo-7b");
        assert_eq!(name("/nowhere/shapes/checkpoint-1000"), "shapes");
        assert_eq!(name("/nowhere/output/final"), "final");
        assert_eq!(name("/checkpoint"), "checkpoint");
        assert_eq!(name("/nowhere/my-checkpoint"), "my-checkpoint");
    }
}
