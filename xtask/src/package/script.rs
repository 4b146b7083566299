//! The script in a package that builds native libraries where it is installed: that it can be read,
//! and finds its way from there.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::workspace::Workspace;
use crate::{native, process};

/// Runs the script of an unpacked package without building: always its help, and where CUDA's
/// compiler and TensorRT's headers are fetched, all its steps as commands that are printed.
///
/// # Errors
/// The script fails.
pub(super) fn check(workspace: &Workspace, root: &Path) -> Result<()> {
    let script = root.join("usr/share/cumo-edge/native/build.sh");
    process::run(Command::new("sh").arg("-n").arg(&script))?;
    process::run(Command::new(&script).arg("--help"))?;
    let cuda = workspace.native().join("cuda/nvidia/cu13");
    let headers = workspace.native().join("tensorrt-headers/11");
    if cuda.join("bin/nvcc").is_file() && headers.is_dir() {
        let mut dry = Command::new(&script);
        dry.arg("--dry-run").arg("--cuda").arg(&cuda).arg("--tensorrt").arg(&headers);
        dry.env("PATH", native::path_with_tools(workspace)?);
        process::run(dry.arg("--prefix").arg(root.join("usr/local")))?;
    } else {
        println!("skipped: a dry run of the script, without `cargo xtask setup --tensorrt`");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
