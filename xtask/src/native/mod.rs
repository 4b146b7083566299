//! What TensorRT's side needs besides Rust: NVIDIA's packages, and the CMake project `native/`.
//!
//! NVIDIA's files come under NVIDIA's licences: they are fetched by the user, into
//! `target/native`, and are neither committed nor shipped.

mod build;
pub(crate) mod format;
mod headers;
mod packages;
mod shipped;
mod system;

use anyhow::Result;

use crate::workspace::Workspace;

pub(crate) use build::{build_for_gpu, gpu_folder, known_code, path_with_tools, run};
pub(crate) use shipped::{Compilers, Shipped};

/// Fetches all that building and testing `native/` needs. What is there is kept; gives how many
/// folders were fetched.
///
/// # Errors
/// A package cannot be fetched or is not the pinned one.
pub(crate) fn setup(workspace: &Workspace) -> Result<usize> {
    let mut fetched = 0;
    for folder in packages::for_this_machine() {
        fetched += usize::from(packages::ensure(workspace, folder)?);
    }
    fetched += usize::from(headers::ensure(workspace)?);
    for installed in system::tensorrt() {
        println!("TensorRT {}: {} (installed)", installed.version, installed.include.display());
    }
    Ok(fetched)
}
