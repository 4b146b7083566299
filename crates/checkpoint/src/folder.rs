//! Finds a Hugging Face folder's weights.

use std::path::Path;
use std::sync::Arc;

use crate::error::Error;
use crate::mapped_file::MappedFile;
use crate::tensor::Stored;
use crate::{index, safetensors, torch};

type ReadFile = fn(&Arc<MappedFile>) -> Result<Vec<Stored>, Error>;

/// The files that may hold a folder's weights, in the order in which Hugging Face's library looks
/// for them. An index leads to shards.
const FILES: [(&str, bool, ReadFile); 4] = [
    ("model.safetensors", false, safetensors::read),
    ("model.safetensors.index.json", true, safetensors::read),
    ("pytorch_model.bin", false, torch::read),
    ("pytorch_model.bin.index.json", true, torch::read),
];

/// All tensors of the weights in `dir`; none where it has no file of weights.
///
/// # Errors
///
/// A file of weights cannot be read or is not well-formed.
pub(crate) fn read(dir: &Path) -> Result<Option<Vec<Stored>>, Error> {
    for (name, is_index, read_file) in FILES {
        let path = dir.join(name);
        if !is_there(&path) {
            continue;
        }
        let read_shard = |shard: &Path| read_file(&Arc::new(MappedFile::open(shard)?));
        let tensors = if is_index { index::read(&path, read_shard)? } else { read_shard(&path)? };
        return Ok(Some(tensors));
    }
    Ok(None)
}

/// All tensors of the file `name` in `dir`, which `torch.save` wrote; none where it is absent.
pub(crate) fn read_torch_file(dir: &Path, name: &str) -> Result<Option<Vec<Stored>>, Error> {
    let path = dir.join(name);
    if !is_there(&path) {
        return Ok(None);
    }
    torch::read(&Arc::new(MappedFile::open(&path)?)).map(Some)
}

/// Whether there is something at `path`, be it a link to nothing, which is an error to report and
/// not a reason to look elsewhere.
fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}
