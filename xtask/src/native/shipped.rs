//! Shim and plugin as packages ship them: for any GPU of a machine's kind, without symbols, and for
//! another machine than this one too.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::system::TensorRt;
use super::{build, packages, system};
use crate::process;
use crate::workspace::Workspace;

/// What compiles and archives for another machine.
#[derive(Debug)]
pub(crate) struct Compilers {
    pub(crate) c: PathBuf,
    pub(crate) cxx: PathBuf,
    pub(crate) ar: PathBuf,
    pub(crate) ranlib: PathBuf,
}

/// Libraries of a package, to be built.
pub(crate) struct Shipped<'a> {
    /// The machine they are for, as `std::env::consts::ARCH`.
    pub(crate) arch: &'a str,
    /// What compiles for it, where it is not this machine.
    pub(crate) compilers: Option<&'a Compilers>,
    /// The headers of the only TensorRT that they are for. None: of all that are fetched and, for this
    /// machine, installed.
    pub(crate) tensorrt: Option<&'a Path>,
}

/// What libraries are built with.
struct Parts {
    cuda: PathBuf,
    /// CUDA's runtime for another machine.
    runtime: Option<PathBuf>,
    /// Flavours of TensorRT and their headers.
    flavours: Vec<(String, PathBuf)>,
}

impl Shipped<'_> {
    /// Builds the libraries; gives their build folder, or why they cannot be built here.
    ///
    /// # Errors
    /// Headers that are named are none, or a step fails.
    pub(crate) fn build(&self, workspace: &Workspace) -> Result<Result<PathBuf, String>> {
        let parts = match self.parts(workspace)? {
            Ok(parts) => parts,
            Err(missing) => return Ok(Err(missing)),
        };
        let folder = workspace.target.join(format!("native-package-{}", self.arch));
        // What an earlier build has left there is of other flavours.
        for part in ["shim", "plugin"] {
            crate::folder::remove(&folder.join(part))?;
        }
        let mut cmake = build::configure_without_tensorrt(workspace, &folder);
        cmake.args(["-DCUMO_KERNELS=ON", "-DCUMO_EMULATION=OFF"]);
        cmake.arg(build::code_option(&build::known_of(&parts.cuda, self.capabilities())?));
        cmake.args(["-DCMAKE_SHARED_LINKER_FLAGS=-s", "-DCMAKE_MODULE_LINKER_FLAGS=-s"]);
        for flavour in ["rtx", "11", "10"] {
            let headers = parts.flavours.iter().find(|(of, _)| of == flavour);
            let headers = headers.map(|(_, headers)| headers.display().to_string());
            cmake.arg(format!("-DCUMO_TRT_{flavour}_INCLUDE={}", headers.unwrap_or_default()));
        }
        if let Some(runtime) = &parts.runtime {
            cmake.arg(format!("-DCUMO_CUDART={}", runtime.display()));
        }
        if let Some(compilers) = self.compilers {
            cmake.arg("-DCMAKE_SYSTEM_NAME=Linux");
            cmake.arg(format!("-DCMAKE_SYSTEM_PROCESSOR={}", self.arch));
            cmake.arg(format!("-DCMAKE_C_COMPILER={}", compilers.c.display()));
            cmake.arg(format!("-DCMAKE_CXX_COMPILER={}", compilers.cxx.display()));
            cmake.arg(format!("-DCMAKE_AR={}", compilers.ar.display()));
            cmake.arg(format!("-DCMAKE_RANLIB={}", compilers.ranlib.display()));
        }
        process::run(&mut cmake)?;
        let mut make = build::tool(workspace, "cmake");
        make.arg("--build").arg(&folder).arg("--target");
        for (flavour, _) in &parts.flavours {
            make.args([format!("cumo_trt_{flavour}"), format!("cumo_plugin_{flavour}")]);
        }
        process::run(&mut make)?;
        Ok(Ok(folder))
    }

    /// The compute capabilities of GPUs in such machines. Code for 8.0 also runs on 8.6 and 8.9, not on
    /// 8.7, which is Orin; 11.0 is Thor.
    fn capabilities(&self) -> &'static [&'static str] {
        match self.arch {
            "aarch64" => &["87", "90", "100", "110", "120"],
            _ => &["80", "90", "100", "120"],
        }
    }

    /// What to build with, or the first thing that is missing.
    fn parts(&self, workspace: &Workspace) -> Result<Result<Parts, String>> {
        let flavours = self.flavours(workspace)?;
        let cuda = build::cuda(workspace);
        let is_here = |name| process::succeeds(build::tool(workspace, name).arg("--version"));
        let is_this_machine = self.arch == std::env::consts::ARCH;
        let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
        let missing = if !cuda.join("bin/nvcc").is_file() {
            "CUDA compiler; `cargo xtask setup --tensorrt` gets one"
        } else if flavours.is_empty() {
            "headers of a TensorRT; `cargo xtask setup --tensorrt` gets some"
        } else if !["cmake", "ninja"].into_iter().all(is_here) {
            "CMake and Ninja; `cargo xtask setup --tensorrt` gets them"
        } else if is_this_machine && !process::succeeds(Command::new(compiler).arg("--version")) {
            "C++ compiler; on Debian and Ubuntu: apt-get install g++"
        } else if !is_this_machine && self.compilers.is_none() {
            "C++ compiler for aarch64; on Debian and Ubuntu: apt-get install g++-aarch64-linux-gnu"
        } else {
            ""
        };
        if !missing.is_empty() {
            return Ok(Err(format!("there is no {missing}")));
        }
        if is_this_machine {
            return Ok(Ok(Parts { cuda, runtime: None, flavours }));
        }
        match self.runtime(workspace, &cuda) {
            Ok(runtime) => Ok(Ok(Parts { cuda, runtime: Some(runtime), flavours })),
            Err(error) => Ok(Err(format!("{error:#}"))),
        }
    }

    /// CUDA's static runtime for another machine: that of an installed CUDA, or of the fetched one.
    fn runtime(&self, workspace: &Workspace, cuda: &Path) -> Result<PathBuf> {
        // Jetson's before that of servers: until CUDA 13 they differ.
        let folders =
            ["aarch64-linux", "sbsa-linux"].map(|target| cuda.join("targets").join(target));
        let mut files = folders.iter().map(|folder| folder.join("lib/libcudart_static.a"));
        if let Some(installed) = files.find(|file| file.is_file()) {
            return Ok(installed);
        }
        if cuda != build::fetched_cuda(workspace) {
            bail!(
                "{} has no runtime for {}: NVIDIA's packages cuda-cross-aarch64 (Jetson, before CUDA 13) \
                 and cuda-cross-sbsa have it",
                cuda.display(),
                self.arch
            );
        }
        let folder = &packages::CUDA_RUNTIME_AARCH64;
        packages::ensure(workspace, folder)?;
        Ok(workspace.native().join(folder.name).join("libcudart_static.a"))
    }

    /// Flavours of TensorRT that libraries can be built for, with their headers.
    fn flavours(&self, workspace: &Workspace) -> Result<Vec<(String, PathBuf)>> {
        if let Some(named) = self.tensorrt {
            let named = std::path::absolute(named)?;
            let found = system::tensorrt_in(&named).with_context(|| {
                format!(
                    "{} holds no NvInferVersion.h and NvOnnxParser.h of a TensorRT",
                    named.display()
                )
            })?;
            if !found.is_known() {
                bail!(
                    "{} is of TensorRT {}; 10.3 and later and 11 are known",
                    named.display(),
                    found.version
                );
            }
            return Ok(vec![flavour(found)]);
        }
        let fetched = workspace.native().join("tensorrt-headers");
        let fetched = ["rtx", "11"].map(|flavour| (flavour.to_owned(), fetched.join(flavour)));
        let mut flavours: Vec<_> =
            fetched.into_iter().filter(|(_, folder)| folder.is_dir()).collect();
        if self.arch == std::env::consts::ARCH {
            for installed in system::tensorrt().into_iter().filter(TensorRt::is_known) {
                flavours.retain(|(flavour, _)| *flavour != installed.major.to_string());
                flavours.push(flavour(installed));
            }
        }
        Ok(flavours)
    }
}

fn flavour(found: TensorRt) -> (String, PathBuf) {
    (found.major.to_string(), found.include)
}
