//! TensorRT's headers, out of the crate `trtx-sys`, which carries NVIDIA's (Apache-2.0).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;
use crate::{pinned, process, python};

const CRATE: &str = "trtx-sys";
const VERSION: &str = "0.9.1";
/// The name of the crate's archive and of the folder in it.
const ARCHIVE: &str = "trtx-sys-0.9.1+rtx1.7";
const SHA256: &str = "5480ee056292951daa1bc74532162d6cb75190f091e45d7d97c0c356916ae171";

/// Folders of the archive and what they are called here: the shim's flavours.
const FLAVOURS: [(&str, &str); 2] = [("TRT-RTX-1.7", "rtx"), ("TRT-Enterprise-11.4", "11")];

/// The file that says from which archive the folder was made.
const RECORD: &str = "crate.sha256";

/// The headers in `target/native/tensorrt-headers`, fetched unless they are there.
///
/// # Errors
/// cargo cannot fetch the crate, or it is not the pinned one.
pub(super) fn ensure(workspace: &Workspace) -> Result<bool> {
    let folder = workspace.native().join("tensorrt-headers");
    let what = format!("TensorRT's headers: {}", workspace.show(&folder));
    let whole = FLAVOURS.iter().all(|(_, ours)| folder.join(ours).join("NvOnnxParser.h").is_file());
    if whole && fs::read_to_string(folder.join(RECORD)).is_ok_and(|found| found == SHA256) {
        println!("{what} (fetched before)");
        return Ok(false);
    }
    let archive = fetch(workspace)?;
    pinned::check(&archive, SHA256)?;
    let unpacked = python::temporary_folder(workspace)?;
    let headers = format!("{ARCHIVE}/TensorRT-Headers");
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(&archive).arg("-C").arg(unpacked.path()).arg(&headers);
    process::run(&mut tar)?;
    let made = python::temporary_folder(workspace)?;
    for (theirs, ours) in FLAVOURS {
        fs::rename(unpacked.path().join(&headers).join(theirs), made.path().join(ours))
            .with_context(|| format!("{ARCHIVE} holds no {theirs}"))?;
    }
    fs::write(made.path().join(RECORD), SHA256)?;
    python::move_into_place(made, &folder)?;
    println!("{what} (fetched)");
    Ok(true)
}

/// Asks cargo about the crate, which makes it fetch that archive and no other.
fn fetch(workspace: &Workspace) -> Result<PathBuf> {
    let cache = cargo_home()?.join("registry/cache");
    if let Some(archive) = cached(&cache) {
        return Ok(archive);
    }
    let mut cargo = process::cargo();
    cargo.args(["info", "--quiet", &format!("{CRATE}@{VERSION}")]);
    process::read(cargo.current_dir(&workspace.root))
        .with_context(|| format!("cannot fetch the crate {CRATE} {VERSION}"))?;
    match cached(&cache) {
        Some(archive) => Ok(archive),
        None => bail!("cargo left no {ARCHIVE}.crate below {}", cache.display()),
    }
}

/// The archive in cargo's cache, which has one folder a registry.
fn cached(cache: &Path) -> Option<PathBuf> {
    let registries = fs::read_dir(cache).ok()?;
    registries
        .flatten()
        .map(|registry| registry.path().join(format!("{ARCHIVE}.crate")))
        .find(|archive| archive.is_file())
}

fn cargo_home() -> Result<PathBuf> {
    if let Some(home) = std::env::var_os("CARGO_HOME") {
        return Ok(PathBuf::from(home));
    }
    let home = std::env::home_dir().context("neither CARGO_HOME nor HOME is set")?;
    Ok(home.join(".cargo"))
}
