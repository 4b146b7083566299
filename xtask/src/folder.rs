//! Folders that steps work in.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Removes a folder that is not needed any more, if it is there.
///
/// # Errors
/// It cannot be removed.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    match folder.exists() {
        true => fs::remove_dir_all(folder).with_context(|| folder.display().to_string()),
        false => Ok(()),
    }
}

/// Sees to it that a folder is there and empty.
///
/// # Errors
/// What is in it cannot be removed, or the folder not be made.
pub(crate) fn empty(folder: &Path) -> Result<()> {
    remove(folder)?;
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())
}
