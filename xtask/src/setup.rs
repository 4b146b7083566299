//! `cargo xtask setup`: what the build does not bring along.

use anyhow::Result;

use crate::workspace::Workspace;
use crate::{onnxruntime, python};

/// Gets ONNX Runtime's library and, where asked, the Python packages of the tests.
///
/// Can be run again at any time: what is there is kept.
///
/// # Errors
/// Nothing suitable is installed and it cannot be fetched.
pub(crate) fn run(workspace: &Workspace, with_python: bool) -> Result<()> {
    onnxruntime::ensure(workspace)?;
    if with_python {
        python::ensure_packages(workspace)?;
    }
    Ok(())
}
