//! Checkpoints of the published models' sizes, with random weights.

use std::path::Path;

use anyhow::Result;

use crate::workspace::Workspace;
use crate::{process, python};

/// Makes one with `benches/real_shapes.py`.
///
/// # Errors
/// Python or its packages are missing, or the disk is full.
pub(crate) fn make(workspace: &Workspace, checkpoint: &Path, options: &[&str]) -> Result<()> {
    let mut make = python::with_packages(workspace)?;
    make.arg(workspace.root.join("benches/real_shapes.py")).arg(checkpoint).args(options);
    process::run(&mut make)
}
