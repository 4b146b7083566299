//! `cargo xtask native`: configures, builds and tests the CMake project `native/`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use super::system;
use crate::process;
use crate::workspace::Workspace;

/// Builds everything of `native/` that this machine can build, and runs its tests.
///
/// # Errors
/// The packages of `cargo xtask setup --tensorrt` are missing, a step fails, or a test does.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    build(workspace)?;
    let mut ctest = tool(workspace, "ctest");
    ctest.arg("--test-dir").arg(folder(workspace));
    process::run(ctest.args(["--output-on-failure", "--parallel", "2", "--timeout", "300"]))
}

/// Configures and builds, and gives the folder of what was built.
///
/// # Errors
/// The packages of `cargo xtask setup --tensorrt` are missing, or a step fails.
pub(crate) fn build(workspace: &Workspace) -> Result<PathBuf> {
    let native = workspace.native();
    if !native.join("tensorrt-headers").is_dir() {
        bail!("{} is missing: cargo xtask setup --tensorrt", native.display());
    }
    let folder = folder(workspace);
    let mut cmake = tool(workspace, "cmake");
    cmake.arg("-S").arg(workspace.root.join("native")).arg("-B").arg(&folder);
    cmake.args(["-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release"]);
    cmake.arg(format!("-DCMAKE_MAKE_PROGRAM={}", program(workspace, "ninja").display()));
    cmake.arg(format!("-DCUMO_PACKAGES={}", native.display()));
    if let Some(cuda) = system::cuda() {
        cmake.arg(format!("-DCUMO_CUDA_ROOT={}", cuda.display()));
    }
    for installed in system::tensorrt() {
        let (major, include) = (installed.major, installed.include.display());
        cmake.arg(format!("-DCUMO_TRT_{major}_INCLUDE={include}"));
    }
    process::run(&mut cmake)?;
    process::run(tool(workspace, "cmake").arg("--build").arg(&folder))?;
    Ok(folder)
}

/// Where CMake builds.
fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target.join("native-build")
}

/// Whether CMake and Ninja are on the path.
pub(super) fn tools_are_installed() -> bool {
    ["cmake", "ninja"].iter().all(|name| process::succeeds(Command::new(name).arg("--version")))
}

fn tool(workspace: &Workspace, name: &str) -> Command {
    Command::new(program(workspace, name))
}

/// A build tool: the fetched one, or the installed one.
fn program(workspace: &Workspace, name: &str) -> PathBuf {
    let fetched = workspace.native().join("cmake/bin").join(name);
    if fetched.is_file() { fetched } else { PathBuf::from(name) }
}
