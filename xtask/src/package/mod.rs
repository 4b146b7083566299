//! `cargo xtask package`: `cumo` and what belongs to it as a Debian package, for a Jetson or a PC.

mod binary;
mod contents;
mod cross;
mod deb;
mod debian;
mod emulation;
mod notices;
mod script;
mod target;

use std::fs;
use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::workspace::Workspace;
use crate::{native, python};

pub(crate) use debian::NotInArchive;
pub(crate) use target::Target;

use contents::Contents;

/// What was typed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// What it is for.
    pub(crate) target: Target,
    /// Cargo features of the runtime, in place of the default ones.
    pub(crate) features: Option<String>,
    /// Whose native libraries are shipped.
    pub(crate) native: Native,
    /// Whether `cumo-export` is packaged too.
    pub(crate) with_export: bool,
    /// Whether the packaged program answers questions, under emulation.
    pub(crate) emulate: bool,
}

/// Where the native libraries come from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Native {
    /// Built now, where the package is for this machine and a CUDA compiler is here; else none.
    WhereCuda,
    /// A build folder of `native/`, made on a machine of the target.
    Folder(PathBuf),
    /// None: they are built where the package is installed.
    None,
}

/// Builds, lays out, packs and checks the package; with `emulate`, lets its program answer.
///
/// # Errors
/// A step fails, what is needed cannot be fetched ([`NotInArchive`] among the reasons), or the
/// package is not as it must be.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let target = options.target;
    let tools = cross::ensure(workspace, target)?;
    let features = options.features.as_deref();
    let mut programs = vec![binary::build(workspace, &binary::CUMO, target, &tools, features)?];
    if options.with_export {
        programs.push(binary::build(workspace, &binary::EXPORT, target, &tools, None)?);
    }
    for program in &programs {
        binary::check(program, target)?;
    }
    let native = native_build(workspace, options)?;
    let output = workspace.target.join("package");
    let staged = python::temporary_folder(workspace)?;
    Contents::new(workspace, staged.path()).lay_out(&programs, native.as_deref())?;
    let file = deb::pack(workspace, target, staged.path(), &output)?;
    let first = fs::read(&file)?;
    deb::pack(workspace, target, staged.path(), &output)?;
    if fs::read(&file)? != first {
        bail!("{} has other bytes when it is packed again", workspace.show(&file));
    }
    let unpacked = tempfile::tempdir()?;
    deb::check(workspace, &file, unpacked.path())?;
    script::check(workspace, unpacked.path())?;
    if options.emulate {
        emulation::run(workspace, target, &tools, &unpacked.path().join("usr/bin/cumo"))?;
    }
    Ok(())
}

fn native_build(workspace: &Workspace, options: &Options) -> Result<Option<PathBuf>> {
    match &options.native {
        Native::None => Ok(None),
        Native::Folder(folder) => Ok(Some(folder.clone())),
        Native::WhereCuda if options.target.is_this_machine() && native::can_build(workspace) => {
            native::build_for_gpu(workspace, None)?;
            Ok(Some(native::gpu_folder(workspace)))
        }
        Native::WhereCuda => {
            println!("native libraries: none, they are built where the package is installed");
            Ok(None)
        }
    }
}
