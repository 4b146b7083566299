//! Which model a folder holds: a name may be given twice, a manifest's hash is not.

use std::fs;
use std::io;
use std::path::Path;

use cumo_bundle::{Manifest, hash_reader, names};

use crate::error::Error;

/// The hashes of a folder's manifest, which has the hashes of all other files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// SHA-256 of the manifest of the bundle, also of one that engines were built of.
    pub bundle_sha256: String,
    /// SHA-256 of the engines' manifest; none of a bundle.
    pub engines_sha256: Option<String>,
}

/// What a manifest of engines has and one of a bundle has not.
#[derive(serde::Deserialize)]
struct OfEngines {
    bundle: Manifest,
}

impl Identity {
    /// The identity of a bundle or a folder of engines.
    ///
    /// # Errors
    /// [`Error::File`] where the manifest cannot be read.
    pub fn of(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(names::MANIFEST_FILE);
        let failed = |source| Error::File { path: path.clone(), source };
        let bytes = fs::read(&path).map_err(failed)?;
        let sha256 = |bytes: &[u8]| hash_reader(bytes, |_| ()).map_err(failed);
        let of_file = sha256(&bytes)?;
        let Ok(engines) = serde_json::from_slice::<OfEngines>(&bytes) else {
            return Ok(Identity { bundle_sha256: of_file, engines_sha256: None });
        };
        // As the bundle's writer writes it, so that the hash is that of the bundle's own file. What
        // runs is another manifest, with the sizes that the engines were built for.
        let text = serde_json::to_vec_pretty(&engines.bundle).map_err(io::Error::from);
        let bundle_sha256 = sha256(&[&text.map_err(failed)?[..], b"\n"].concat())?;
        Ok(Identity { bundle_sha256, engines_sha256: Some(of_file) })
    }
}
