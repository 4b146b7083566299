//! `cargo xtask native`: configures, builds and tests the CMake project `native/`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use super::system;
use crate::workspace::Workspace;
use crate::{process, python};

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

fn build(workspace: &Workspace) -> Result<()> {
    let packages = workspace.native();
    if !packages.join("tensorrt-headers").is_dir() {
        bail!("{} is not filled: cargo xtask setup --tensorrt", workspace.show(&packages));
    }
    let folder = folder(workspace);
    let cuda = system::cuda().unwrap_or_else(|| packages.join("cuda/nvidia/cu13"));
    let mut cmake = tool(workspace, "cmake");
    cmake.arg("-S").arg(workspace.root.join("native")).arg("-B").arg(&folder);
    cmake.args(["-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DCUMO_KERNELS=ON"]);
    cmake.arg(format!("-DCMAKE_MAKE_PROGRAM={}", program(workspace, "ninja").display()));
    cmake.arg(format!("-DCUMO_PACKAGES={}", packages.display()));
    cmake.arg(format!("-DCUMO_CUDA_DIR={}", cuda.display()));
    cmake.arg(format!("-DCUMO_CUDA_ARCHITECTURES={}", architectures(&cuda)?.join(";")));
    // Python prepares data of the plugin's tests.
    cmake.arg(format!("-DCUMO_PYTHON_PATH={}", python::ensure_packages(workspace)?.display()));
    cmake.arg(format!("-DCUMO_PYTHON={}", python::interpreter().get_program().display()));
    for installed in system::tensorrt() {
        let (major, include) = (installed.major, installed.include.display());
        cmake.arg(format!("-DCUMO_TRT_{major}_INCLUDE={include}"));
    }
    process::run(&mut cmake)?;
    process::run(tool(workspace, "cmake").arg("--build").arg(&folder))
}

/// Of the compute capabilities that the kernels are for, those that this CUDA compiles for: JetPack
/// 6's knows none after 9.0. Code for 8.0 also runs on 8.6, 8.7 and 8.9, code for 12.0 on 12.1.
fn architectures(cuda: &Path) -> Result<Vec<String>> {
    let known = process::read(Command::new(cuda.join("bin/nvcc")).arg("--list-gpu-code"))?;
    let known: Vec<_> = known.split_whitespace().collect();
    let wanted = ["80", "90", "100", "110", "120"].map(str::to_owned);
    let all = wanted.into_iter().filter(|wanted| known.contains(&format!("sm_{wanted}").as_str()));
    let all: Vec<_> = all.collect();
    if all.is_empty() {
        bail!("{} compiles for none of the devices that the kernels are for", cuda.display());
    }
    Ok(all)
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
