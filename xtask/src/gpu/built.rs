//! The programs that the parts run, all built before anything runs: on the card's machine, or on
//! another one for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::workspace::Workspace;
use crate::{native, process};

/// What of `tests/` a program reads that was not started by cargo: the folder's name is in this
/// variable.
pub(super) const TESTS: &str = "CUMO_TESTS";

/// Where the programs are.
#[derive(Debug, Clone)]
pub(super) struct Built {
    /// Below `target`, two steps from what was fetched into `target/native`.
    pub(super) folder: PathBuf,
    /// The kernels' test.
    pub(super) device_test: PathBuf,
    /// The shims' folder.
    pub(super) shim: PathBuf,
}

impl Built {
    /// Where they are in a checkout, built or not.
    pub(super) fn of(workspace: &Workspace) -> Built {
        let native = native::gpu_folder(workspace);
        Built {
            folder: workspace.target.join(Workspace::GPU_PROGRAMS),
            device_test: native.join("kernels/device_test"),
            shim: native.join("shim"),
        }
    }

    /// The goldens' engines against ONNX Runtime.
    pub(super) fn engines_test(&self) -> PathBuf {
        self.folder.join("deps/device")
    }

    /// A mixture as engines.
    pub(super) fn mixture_bench(&self) -> PathBuf {
        self.folder.join("deps/moe_engine")
    }

    /// What was built, or brought along, lacks these.
    pub(super) fn missing(&self) -> Vec<PathBuf> {
        let programs = ["cumo", "cumo-export"].map(|name| self.folder.join(name));
        let rest = [self.engines_test(), self.mixture_bench(), self.device_test.clone()];
        programs.into_iter().chain(rest).filter(|file| !file.is_file()).collect()
    }
}

/// Builds `cumo` and `cumo-export` as they are shipped.
///
/// # Errors
/// The build fails.
pub(super) fn programs(workspace: &Workspace) -> Result<()> {
    let mut cargo = offline(workspace, "build");
    cargo.args(["--release", "--bins", "--package", "cumo-export", "--package", "cumo-runtime"]);
    process::run(&mut cargo)?;
    let built = Built::of(workspace);
    for name in ["cumo", "cumo-export"] {
        copy(&workspace.target.join("release").join(name), &built.folder.join(name))?;
    }
    Ok(())
}

/// Builds the goldens' test. What is timed is the device's work: as tests are built will do.
///
/// # Errors
/// The build fails.
pub(super) fn engines_test(workspace: &Workspace) -> Result<()> {
    let mut cargo = offline(workspace, "test");
    cargo.args(["--package", "cumo-tests", "--test", "device"]);
    copy(&executable(&mut cargo)?, &Built::of(workspace).engines_test())
}

/// Builds the benchmark of a mixture's engines, as tests are built.
///
/// # Errors
/// The build fails.
pub(super) fn mixture_bench(workspace: &Workspace) -> Result<()> {
    let mut cargo = offline(workspace, "bench");
    cargo.args(["--profile", "dev", "--package", "cumo-benches", "--bench", "moe_engine"]);
    copy(&executable(&mut cargo)?, &Built::of(workspace).mixture_bench())
}

fn offline(workspace: &Workspace, command: &str) -> Command {
    let mut cargo = process::cargo();
    cargo.args([command, "--locked", "--offline"]).current_dir(&workspace.root);
    cargo
}

/// Has cargo build a test or benchmark and gives its file.
fn executable(cargo: &mut Command) -> Result<PathBuf> {
    cargo.args(["--no-run", "--message-format", "json-render-diagnostics"]);
    println!("$ {}", process::line(cargo));
    let messages = process::read(cargo)?;
    parse_executable(&messages).context("cargo names no program that it built")
}

/// The last program in cargo's messages.
fn parse_executable(messages: &str) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Message {
        executable: Option<PathBuf>,
    }
    let message = |line: &str| serde_json::from_str::<Message>(line).ok()?.executable;
    messages.lines().rev().find_map(message)
}

/// Puts a copy of a program in its place in one step: one that runs cannot be written, but replaced.
pub(super) fn copy(from: &Path, to: &Path) -> Result<()> {
    let folder = to.parent().context("a program lies in a folder")?;
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let new = to.with_extension("new");
    fs::copy(from, &new).with_context(|| format!("{} to {}", from.display(), new.display()))?;
    fs::rename(&new, to).with_context(|| to.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_the_last_that_cargo_names() {
        let messages = "{\"reason\":\"compiler-artifact\",\"executable\":null}\n\
            {\"reason\":\"compiler-artifact\",\"executable\":\"/x/deps/device-1\"}\n\
            {\"reason\":\"build-finished\",\"success\":true}\nnot json\n";
        assert_eq!(parse_executable(messages), Some(PathBuf::from("/x/deps/device-1")));
        assert_eq!(parse_executable("{\"reason\":\"build-finished\"}\n"), None);
    }

    #[test]
    fn what_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let inside = |name: &str| folder.path().join(name);
        let built = Built {
            folder: inside("programs"),
            device_test: inside("device_test"),
            shim: inside("shim"),
        };
        assert_eq!(built.missing().len(), 5);
        fs::write(inside("some"), "x").unwrap();
        copy(&inside("some"), &built.engines_test()).unwrap();
        copy(&inside("some"), &built.engines_test()).unwrap();
        assert_eq!(built.missing().len(), 4);
        assert!(copy(&inside("none"), &inside("some")).is_err());
        assert_eq!(fs::read_to_string(inside("some")).unwrap(), "x");
    }
}
