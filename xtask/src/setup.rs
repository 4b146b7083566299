//! `cargo xtask setup`: what the build does not bring along.

use anyhow::Result;

use crate::workspace::Workspace;
use crate::{native, onnxruntime, python};

/// Gets ONNX Runtime's library and, where asked, the Python packages of the tests and what building
/// and testing TensorRT's side needs.
///
/// Can be run again at any time: what is there is kept.
///
/// # Errors
/// Nothing suitable is installed and it cannot be fetched.
pub(crate) fn run(workspace: &Workspace, with_python: bool, with_tensorrt: bool) -> Result<()> {
    onnxruntime::ensure(workspace)?;
    if with_python {
        python::ensure_packages(workspace)?;
    }
    if with_tensorrt {
        native::setup(workspace)?;
    }
    Ok(())
}
