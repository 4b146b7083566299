//! ONNX Runtime's shared library: an installed one, or the one of the pinned PyPI wheel.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;
use crate::{pinned, process, python};

/// The version that is fetched.
pub(crate) const VERSION: &str = "1.32.0";

/// The first minor version of ONNX Runtime 1 that has the C API the runtime is built for.
const MINIMUM_MINOR: u32 = 24;

/// The variable that names a library, read by the runtime too.
pub(crate) const DYLIB_PATH: &str = "ORT_DYLIB_PATH";

/// A wheel on PyPI. The library in it does not depend on the wheel's Python version.
struct Wheel {
    /// `std::env::consts::ARCH`.
    arch: &'static str,
    platform: &'static str,
    sha256: &'static str,
}

const WHEELS: [Wheel; 2] = [
    Wheel {
        arch: "x86_64",
        platform: "manylinux_2_28_x86_64",
        sha256: "99e1074c4b2197accd5073052a465361be17b89c093b8ffb6e6bd8f986c52df8",
    },
    Wheel {
        arch: "aarch64",
        platform: "manylinux_2_28_aarch64",
        sha256: "e36c187006e7a7c8b8d6d57f1a209dd63f52430dca6c282b177718ad6b841054",
    },
];

/// The library: `$ORT_DYLIB_PATH`, the one fetched before, an installed one that is new enough, or
/// one fetched now.
///
/// # Errors
/// `$ORT_DYLIB_PATH` names no file, this machine has no wheel, or the wheel cannot be fetched or is
/// not the pinned one.
pub(crate) fn ensure(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.native().join("onnxruntime");
    let fetched = folder.join(format!("libonnxruntime.so.{VERSION}"));
    let (library, how) =
        if let Some(named) = std::env::var_os(DYLIB_PATH).filter(|path| !path.is_empty()) {
            let named = PathBuf::from(named);
            if !named.is_file() {
                bail!("{DYLIB_PATH} is {}, which is no file", named.display());
            }
            (std::path::absolute(named)?, "from ORT_DYLIB_PATH")
        } else if fetched.is_file() {
            (fetched, "fetched before")
        } else if let Some(installed) = installed() {
            (installed, "installed")
        } else {
            fetch(workspace, std::env::consts::ARCH, &folder)?;
            (fetched, "fetched")
        };
    println!("ONNX Runtime: {} ({how})", workspace.show(&library));
    Ok(library)
}

/// A library of the system that is new enough.
fn installed() -> Option<PathBuf> {
    let arch = std::env::consts::ARCH;
    let folders =
        ["/usr/local/lib", "/usr/lib", &format!("/usr/lib/{arch}-linux-gnu"), "/usr/lib64"]
            .map(PathBuf::from);
    folders
        .iter()
        .map(|folder| folder.join("libonnxruntime.so"))
        .filter_map(|link| fs::canonicalize(link).ok())
        .find(|file| is_new_enough(file))
}

/// Whether the version in the file's name has the C API that the runtime is built for.
fn is_new_enough(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let Some(version) = name.strip_prefix("libonnxruntime.so.") else { return false };
    let mut numbers = version.split('.').map(str::parse::<u32>);
    let (Some(Ok(1)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else { return false };
    minor >= MINIMUM_MINOR
}

/// The library for programs of another machine, fetched unless it is there; this machine's as
/// [`ensure`] gives it.
///
/// # Errors
/// That machine has no wheel, or it cannot be fetched or is not the pinned one.
pub(crate) fn ensure_for(workspace: &Workspace, arch: &str) -> Result<PathBuf> {
    if arch == std::env::consts::ARCH {
        return ensure(workspace);
    }
    let folder = workspace.native().join(format!("onnxruntime-{arch}"));
    let library = folder.join(format!("libonnxruntime.so.{VERSION}"));
    if !library.is_file() {
        fetch(workspace, arch, &folder)?;
    }
    println!("ONNX Runtime for {arch}: {}", workspace.show(&library));
    Ok(library)
}

fn fetch(workspace: &Workspace, arch: &str, folder: &Path) -> Result<()> {
    let wheel = WHEELS.iter().find(|wheel| wheel.arch == arch && cfg!(target_os = "linux"));
    let wheel = wheel.with_context(|| {
        format!("no ONNX Runtime is pinned for {arch}: install it and set {DYLIB_PATH}")
    })?;
    let download = python::temporary_folder(workspace)?;
    let mut pip = python::pip(workspace)?;
    pip.args(["download", "--quiet", "--no-deps", "--only-binary=:all:"]);
    pip.args(["--platform", wheel.platform, "--python-version", "3.12"]);
    pip.arg(format!("onnxruntime=={VERSION}")).arg("--dest").arg(download.path());
    process::run(&mut pip).with_context(|| {
        format!("cannot fetch ONNX Runtime; without a network, set {DYLIB_PATH} to a library")
    })?;
    let name = format!("onnxruntime-{VERSION}-cp312-cp312-{}.whl", wheel.platform);
    let archive = download.path().join(name);
    pinned::check(&archive, wheel.sha256)?;
    let unpacked = python::temporary_folder(workspace)?;
    unpack(&archive, unpacked.path())?;
    python::move_into_place(unpacked, folder)
}

/// Takes the library and its licence texts out of the wheel. Python is there, and reads zip files.
fn unpack(archive: &Path, folder: &Path) -> Result<()> {
    const SCRIPT: &str = "\
import os, sys, zipfile
archive, folder, *members = sys.argv[1:]
with zipfile.ZipFile(archive) as wheel:
    for member in members:
        with open(os.path.join(folder, os.path.basename(member)), 'wb') as file:
            file.write(wheel.read(member))
";
    let library = format!("libonnxruntime.so.{VERSION}");
    let mut python = python::interpreter();
    python.args(["-c", SCRIPT]).arg(archive).arg(folder).args([
        &format!("onnxruntime/capi/{library}"),
        "onnxruntime/LICENSE",
        "onnxruntime/ThirdPartyNotices.txt",
    ]);
    process::read(&mut python).with_context(|| format!("cannot unpack {}", archive.display()))?;
    symlink(&library, folder.join("libonnxruntime.so"))
        .with_context(|| format!("cannot link libonnxruntime.so in {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_installed_libraries_by_their_version() {
        for (name, expected) in [
            ("libonnxruntime.so.1.24.0", true),
            ("libonnxruntime.so.1.32.0", true),
            ("libonnxruntime.so.1.23.2", false),
            ("libonnxruntime.so.1.9", false),
            ("libonnxruntime.so.2.0.0", false),
            ("libonnxruntime.so", false),
            ("libonnxruntime.so.1.x", false),
        ] {
            assert_eq!(is_new_enough(Path::new(name)), expected, "{name}");
        }
    }
}
