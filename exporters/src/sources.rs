//! The folders of a checkpoint against what is done with them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cumo_checkpoint::{Checkpoint, Sources, Tensor, UnusedTensor};

use crate::error::Error;

/// Files of a folder that are read as configuration; each may be a link to elsewhere.
const CONFIGURATION: [&str; 3] =
    ["config.json", "generation_config.json", "preprocessor_config.json"];

/// Checks that nothing of the checkpoint lies in `output`, links resolved: replacing a bundle removes
/// what is in it.
///
/// # Errors
/// [`Error::SourceInOutput`].
pub(crate) fn check_output(
    checkpoint: &Checkpoint,
    sources: &Sources,
    output: &Path,
) -> Result<(), Error> {
    let Ok(whole_output) = output.canonicalize() else { return Ok(()) };
    let Sources { checkpoint: folder, llm, clip } = sources;
    let folders = [Some(folder), llm.as_ref(), clip.as_ref(), checkpoint.config.tower.as_ref()];
    let folders = || folders.into_iter().flatten();
    let mut paths: BTreeSet<PathBuf> = folders().cloned().collect();
    paths.extend(folders().flat_map(|folder| CONFIGURATION.map(|name| folder.join(name))));
    paths.extend(checkpoint.tensors().map(Tensor::file).map(Path::to_owned));
    paths.extend(checkpoint.unused.iter().map(UnusedTensor::file).map(Path::to_owned));
    paths.extend(checkpoint.tokenizer.iter().map(|tokenizer| tokenizer.path.clone()));
    for source_path in paths {
        if source_path.canonicalize().is_ok_and(|whole| whole.starts_with(&whole_output)) {
            return Err(Error::SourceInOutput { source_path, output: output.to_owned() });
        }
    }
    Ok(())
}

/// A folder beside the checkpoint that was given and that nothing was taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unneeded {
    /// [`Sources::llm`]: the checkpoint has the LLM's weights, and a tokenizer or none is there.
    Llm,
    /// [`Sources::clip`]: the checkpoint has the tower's weights and configuration.
    Clip,
}

/// The folders of `sources` that nothing in `checkpoint` comes from.
pub fn unneeded(checkpoint: &Checkpoint, sources: &Sources) -> Vec<Unneeded> {
    [(Unneeded::Llm, &sources.llm), (Unneeded::Clip, &sources.clip)]
        .into_iter()
        .filter(|(_, folder)| folder.as_ref().is_some_and(|folder| !checkpoint.uses(folder)))
        .map(|(unneeded, _)| unneeded)
        .collect()
}
