//! Weights that steps read from the bundle's files, each of which is mapped once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cumo_bundle::Manifest;

use crate::backend::{Backend, Buffer, View};
use crate::error::Error;

/// The files of weights that steps have asked for so far, by their names in the manifest.
#[derive(Debug, Default)]
pub(crate) struct Weights {
    files: BTreeMap<String, Buffer>,
}

impl Weights {
    /// The tensor of a weight.
    ///
    /// # Errors
    /// [`Error::NoWeight`]; [`Error::Backend`] where its file cannot be mapped.
    pub(crate) fn view<'a>(
        &mut self,
        backend: &mut dyn Backend,
        folder: &Path,
        manifest: &'a Manifest,
        name: &str,
    ) -> Result<View<'a>, Error> {
        let missing = || Error::NoWeight(name.to_owned());
        let weight = manifest.weights.get(name).ok_or_else(missing)?;
        let buffer = match self.files.get(&weight.file) {
            Some(buffer) => *buffer,
            None => {
                let buffer = backend.map(&folder.join(&weight.file))?;
                self.files.insert(weight.file.clone(), buffer);
                buffer
            }
        };
        let offset = usize::try_from(weight.offset).map_err(|_| missing())?;
        Ok(View { buffer, offset, dtype: weight.dtype, shape: &weight.shape })
    }

    /// The files that are mapped.
    pub(crate) fn mapped(&self) -> BTreeSet<String> {
        self.files.keys().cloned().collect()
    }

    /// Gives the memory of all but some files back.
    pub(crate) fn release_all_but(&mut self, backend: &mut dyn Backend, kept: &BTreeSet<String>) {
        self.files.retain(|name, buffer| {
            let stays = kept.contains(name);
            if !stays {
                backend.release(*buffer);
            }
            stays
        });
    }
}
