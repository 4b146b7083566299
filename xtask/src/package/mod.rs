//! `cargo xtask package`: `cumo` and what belongs to it as a Debian package, for a Jetson or a PC.

mod binary;
mod contents;
mod cross;
mod deb;
mod debian;
mod emulation;
mod install;
mod libraries;
mod notices;
mod script;
mod target;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::workspace::Workspace;
use crate::{process, python};

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
    /// Built now, where a CUDA compiler and what it needs for the target are here; else none.
    Build {
        /// The headers of the only TensorRT that they are for.
        tensorrt: Option<PathBuf>,
    },
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
    check_tools()?;
    let tools = cross::ensure(workspace, target)?;
    let libraries = libraries::ensure(workspace, options, &tools)?;
    let features = options.features.as_deref();
    let mut programs =
        vec![(&binary::CUMO, binary::build(workspace, &binary::CUMO, target, &tools, features)?)];
    if options.with_export {
        let built = binary::build(workspace, &binary::EXPORT, target, &tools, None)?;
        programs.push((&binary::EXPORT, built));
    }
    for (_, built) in &programs {
        binary::check(built, target)?;
    }
    let output = workspace.target.join("package");
    let staged = python::temporary_folder(workspace)?;
    Contents::new(workspace, staged.path()).lay_out(&programs, &libraries)?;
    let with_native = !libraries.is_empty();
    let file = deb::pack(workspace, target, with_native, staged.path(), &output)?;
    let first = fs::read(&file)?;
    deb::pack(workspace, target, with_native, staged.path(), &output)?;
    if fs::read(&file)? != first {
        bail!("{} has other bytes when it is packed again", workspace.show(&file));
    }
    let unpacked = tempfile::tempdir()?;
    deb::check(workspace, &file, unpacked.path())?;
    script::check(workspace, unpacked.path())?;
    install::check(&file)?;
    if options.emulate {
        emulation::run(workspace, target, &tools, unpacked.path(), &libraries)?;
    }
    Ok(())
}

/// Programs that packing needs, and Debian's packages that have them.
const PACKING: [(&str, &str); 5] = [
    ("dpkg-deb", "dpkg"),
    ("readelf", "binutils"),
    ("gzip", "gzip"),
    ("md5sum", "coreutils"),
    ("git", "git"),
];

/// Looks for [`PACKING`] before minutes are spent on building.
fn check_tools() -> Result<()> {
    let is_missing = |name: &str| !process::succeeds(Command::new(name).arg("--version"));
    let missing = PACKING.iter().filter(|(name, _)| is_missing(name));
    let (names, packages): (Vec<&str>, Vec<&str>) = missing.copied().unzip();
    if !names.is_empty() {
        bail!(
            "a package is made with {}; on Debian and Ubuntu: apt-get install {}",
            names.join(", "),
            packages.join(" ")
        );
    }
    Ok(())
}
