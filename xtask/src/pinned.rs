//! Files that are fetched: what was pinned is what arrived, or it is not used.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::python;

/// Compares a file with the SHA-256 hash it was pinned with.
///
/// # Errors
/// The file cannot be read or is another one.
pub(crate) fn check(file: &Path, pinned: &str) -> Result<()> {
    let bytes = fs::read(file).with_context(|| file.display().to_string())?;
    let found = python::hex(&Sha256::digest(&bytes));
    if found != pinned {
        bail!("{}: sha256 is {found}, pinned is {pinned}", file.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_a_file_that_is_not_the_pinned_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("some.whl");
        fs::write(&file, b"abc").unwrap();
        let of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        check(&file, of_abc).unwrap();
        let error = check(&file, &of_abc.replace('b', "c")).unwrap_err().to_string();
        assert!(error.contains("some.whl: sha256 is ba7816bf") && error.contains("pinned is ca78"));
    }
}
