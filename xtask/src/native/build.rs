//! `cargo xtask native`: configures, builds and tests the CMake project `native/`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::system;
use crate::workspace::Workspace;
use crate::{process, python};

/// Tests of the kernels on the CPU that are run once more under sanitizers; `kernels` takes a part
/// of its cases there.
const SANITIZED: [&str; 3] = ["kernels", "contract", "emulation"];

/// Builds everything of `native/` that this machine can build, and runs its tests; then those of
/// [`SANITIZED`] under AddressSanitizer and UndefinedBehaviorSanitizer.
///
/// # Errors
/// The packages of `cargo xtask setup --tensorrt` are missing, a step fails, or a test does.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let packages = workspace.native();
    if !packages.join("tensorrt-headers").is_dir() {
        bail!("{} is not filled: cargo xtask setup --tensorrt", workspace.show(&packages));
    }
    let folder = workspace.target.join("native-build");
    let cuda = cuda(workspace);
    let mut cmake = configure(workspace, &folder);
    // Python prepares data of the plugin's tests.
    cmake.arg(format!("-DCUMO_PYTHON_PATH={}", python::ensure_packages(workspace)?.display()));
    cmake.arg(format!("-DCUMO_PYTHON={}", python::interpreter().get_program().display()));
    cmake.args(["-DCUMO_KERNELS=ON", "-DCUMO_EMULATION=ON"]);
    process::run(cmake.arg(code_option(&architectures(&cuda)?)))?;
    process::run(tool(workspace, "cmake").arg("--build").arg(&folder))?;
    process::run(&mut ctest(workspace, &folder))?;
    run_sanitized(workspace)
}

fn run_sanitized(workspace: &Workspace) -> Result<()> {
    let folder = workspace.target.join("native-sanitized");
    let mut cmake = configure(workspace, &folder);
    process::run(cmake.args(["-DCUMO_SANITIZE=ON", "-DCUMO_KERNELS=OFF"]))?;
    let programs = SANITIZED.map(|name| format!("{name}_test"));
    let mut build = tool(workspace, "cmake");
    process::run(build.arg("--build").arg(&folder).arg("--target").args(programs))?;
    let only = format!("^({})$", SANITIZED.join("|"));
    process::run(ctest(workspace, &folder).args(["--no-tests=error", "--tests-regex", &only]))
}

/// Builds kernels, plugin and shim for one GPU, into [`gpu_folder`]; those of flavours of TensorRT
/// whose headers are here, if any. `code`: the compute capabilities to compile for, by default all
/// that `run` compiles for.
///
/// # Errors
/// There is no CUDA compiler or no CMake, or a step fails.
pub(crate) fn build_for_gpu(workspace: &Workspace, code: Option<Vec<u32>>) -> Result<()> {
    let folder = gpu_folder(workspace);
    let code = match code {
        Some(code) => code.iter().map(u32::to_string).collect(),
        None => architectures(&cuda(workspace))?,
    };
    let mut cmake = configure(workspace, &folder);
    cmake.args(["-DCUMO_KERNELS=ON", "-DCUMO_EMULATION=OFF"]);
    process::run(cmake.arg(code_option(&code)))?;
    process::run(tool(workspace, "cmake").arg("--build").arg(&folder))
}

/// Where [`build_for_gpu`] builds.
pub(crate) fn gpu_folder(workspace: &Workspace) -> PathBuf {
    workspace.target.join("native-gpu")
}

/// The GPUs that the CUDA compiler compiles for, as `sm_86`.
///
/// # Errors
/// There is no CUDA compiler.
pub(crate) fn known_code(workspace: &Workspace) -> Result<Vec<String>> {
    nvcc_code(&cuda(workspace))
}

/// CMake's configuration of `native/` into a folder, without what to compile kernels for.
fn configure(workspace: &Workspace, folder: &Path) -> Command {
    let mut cmake = configure_without_tensorrt(workspace, folder);
    for installed in system::tensorrt() {
        let (major, include) = (installed.major, installed.include.display());
        cmake.arg(format!("-DCUMO_TRT_{major}_INCLUDE={include}"));
    }
    cmake
}

/// The same without the TensorRT that is installed.
pub(super) fn configure_without_tensorrt(workspace: &Workspace, folder: &Path) -> Command {
    let mut cmake = tool(workspace, "cmake");
    cmake.arg("-S").arg(workspace.root.join("native")).arg("-B").arg(folder);
    cmake.args(["-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release"]);
    cmake.arg(format!("-DCMAKE_MAKE_PROGRAM={}", program(workspace, "ninja").display()));
    cmake.arg(format!("-DCUMO_PACKAGES={}", workspace.native().display()));
    cmake.arg(format!("-DCUMO_CUDA_DIR={}", cuda(workspace).display()));
    cmake
}

pub(super) fn code_option(architectures: &[String]) -> String {
    format!("-DCUMO_CUDA_ARCHITECTURES={}", architectures.join(";"))
}

fn ctest(workspace: &Workspace, folder: &Path) -> Command {
    let mut ctest = tool(workspace, "ctest");
    ctest.arg("--test-dir").arg(folder);
    ctest.args(["--output-on-failure", "--parallel", "2", "--timeout", "300"]);
    ctest
}

/// CUDA: the installed one, or the fetched one.
pub(super) fn cuda(workspace: &Workspace) -> PathBuf {
    system::cuda().unwrap_or_else(|| fetched_cuda(workspace))
}

/// Where CUDA is fetched to.
pub(super) fn fetched_cuda(workspace: &Workspace) -> PathBuf {
    workspace.native().join("cuda/nvidia/cu13")
}

/// The compute capabilities that the kernels are for, as far as this CUDA compiles for them. Code for
/// 12.0 also runs on 12.1.
fn architectures(cuda: &Path) -> Result<Vec<String>> {
    known_of(cuda, &["80", "86", "87", "89", "90", "100", "110", "120"])
}

/// Of compute capabilities those that this CUDA compiles for: JetPack 6's knows none after 9.0.
///
/// # Errors
/// It compiles for none of them, or does not run.
pub(super) fn known_of(cuda: &Path, wanted: &[&str]) -> Result<Vec<String>> {
    let known = nvcc_code(cuda)?;
    let all = wanted.iter().filter(|wanted| known.contains(&format!("sm_{wanted}")));
    let all: Vec<_> = all.map(|&wanted| wanted.to_owned()).collect();
    if all.is_empty() {
        bail!("{} compiles for none of the devices that the kernels are for", cuda.display());
    }
    Ok(all)
}

fn nvcc_code(cuda: &Path) -> Result<Vec<String>> {
    let known = process::read(Command::new(cuda.join("bin/nvcc")).arg("--list-gpu-code"))?;
    Ok(known.split_whitespace().map(str::to_owned).collect())
}

/// Whether CMake and Ninja are on the path.
pub(super) fn tools_are_installed() -> bool {
    ["cmake", "ninja"].iter().all(|name| process::succeeds(Command::new(name).arg("--version")))
}

/// `PATH` with the fetched build tools behind the installed ones.
///
/// # Errors
/// A folder's name holds a colon.
pub(crate) fn path_with_tools(workspace: &Workspace) -> Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([workspace.native().join("cmake/bin")]);
    std::env::join_paths(folders).context("PATH")
}

pub(super) fn tool(workspace: &Workspace, name: &str) -> Command {
    Command::new(program(workspace, name))
}

/// A build tool: the fetched one, or the installed one.
fn program(workspace: &Workspace, name: &str) -> PathBuf {
    let fetched = workspace.native().join("cmake/bin").join(name);
    if fetched.is_file() { fetched } else { PathBuf::from(name) }
}
