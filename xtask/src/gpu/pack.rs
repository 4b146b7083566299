//! One archive with all that a machine without a network, compilers and cargo needs to run the
//! parts: nothing is built or fetched there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::build;
use super::built::{self, Built};
use super::table::Table;
use crate::workspace::Workspace;
use crate::{folder, native, onnxruntime, process};

/// The file with the commit, beside the programs.
pub(super) const COMMIT: &str = "commit";

/// The folder that the archive unpacks to.
const NAME: &str = "cumo-gpu";

/// What is started there.
const SCRIPT: &str = "\
#!/bin/sh
# All that needs a GPU, from what was built on another machine. Options: those of `cargo xtask gpu`.
exec \"$(dirname \"$0\")/target/gpu-programs/xtask\" gpu --built \"$@\"
";

/// What of the sources the parts read.
const SOURCES: [&str; 6] = [
    "tests/goldens",
    "tests/tolerances.json",
    "samples/shapes",
    "native/emulation/cases.txt",
    "benches/real_shapes.py",
    "LICENSE",
];

/// Builds for `devices`, or all, and writes the archive.
///
/// # Errors
/// Something cannot be built, or the archive not be written.
pub(super) fn pack(workspace: &Workspace, file: &Path, devices: Option<&[u32]>) -> Result<()> {
    let mut table = Table::default();
    build::for_code(workspace, devices, &mut table);
    let library = onnxruntime::ensure(workspace)?;
    println!("\n{}", table.markdown());
    if !table.holds() {
        bail!("not everything was built: see the rows that say FAILED");
    }
    let staging = workspace.target.join("gpu-pack");
    folder::empty(&staging)?;
    let root = staging.join(NAME);
    for source in SOURCES {
        copy(&workspace.root.join(source), &root.join(source))?;
    }
    gather(workspace, &library, &root)?;
    let file = std::path::absolute(file)?;
    let mut tar = Command::new("tar");
    tar.arg("-caf").arg(&file).arg("-C").arg(&staging).arg(NAME);
    process::run(&mut tar)?;
    folder::remove(&staging)?;
    let bytes = fs::metadata(&file).with_context(|| file.display().to_string())?.len();
    println!("{}: {:.1} MB", file.display(), bytes as f64 / 1e6);
    println!("there: tar -xf {0}; {NAME}/gpu.sh --quick", file_name(&file));
    Ok(())
}

fn file_name(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Copies programs and libraries to where they are looked for.
fn gather(workspace: &Workspace, library: &Path, root: &Path) -> Result<()> {
    let built = Built::of(workspace);
    let there = |path: &Path| -> Result<PathBuf> {
        let inside = path.strip_prefix(&workspace.target).with_context(|| {
            format!("{} is not below {}", path.display(), workspace.target.display())
        })?;
        Ok(root.join("target").join(inside))
    };
    let programs = [
        built.folder.join("cumo"),
        built.folder.join("cumo-export"),
        built.engines_test(),
        built.mixture_bench(),
        built.device_test.clone(),
    ];
    for program in &programs {
        copy(program, &there(program)?)?;
        strip(&there(program)?);
    }
    let xtask = there(&built.folder.join("xtask"))?;
    // By this name also where cargo has put a newer one in its place.
    built::copy(Path::new("/proc/self/exe"), &xtask)?;
    strip(&xtask);
    for shared in shared_objects(&native::gpu_folder(workspace))? {
        copy(&shared, &there(&shared)?)?;
    }
    // Of what was fetched, what runs. It comes under its own licences, whose texts lie beside it.
    let onnxruntime = root.join("target/native/onnxruntime");
    let versioned = format!("libonnxruntime.so.{}", onnxruntime::VERSION);
    copy(library, &onnxruntime.join(versioned))?;
    for text in ["LICENSE", "ThirdPartyNotices.txt"] {
        let text = library.with_file_name(text);
        if text.is_file() {
            copy(&text, &onnxruntime.join(file_name(&text)))?;
        }
    }
    let rtx = workspace.native().join("tensorrt-rtx");
    if rtx.is_dir() {
        copy(&rtx, &there(&rtx)?)?;
    }
    let commit = there(&built.folder.join(COMMIT))?;
    fs::write(&commit, super::commit(workspace)).with_context(|| commit.display().to_string())?;
    let script = root.join("gpu.sh");
    fs::write(&script, SCRIPT).with_context(|| script.display().to_string())?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// The shims and plugins of a build.
fn shared_objects(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    for entry in entries {
        let path = entry?.path();
        let is_ours = |name: &str| name.starts_with("libcumo_") && name.ends_with(".so");
        if path.is_dir() {
            found.extend(shared_objects(&path)?);
        } else if is_ours(&file_name(&path)) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Copies a file or folder; links stay links.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if from.is_file() {
        return built::copy(from, to);
    }
    let parent = to.parent().context("a folder lies in a folder")?;
    fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
    process::run(Command::new("cp").arg("-a").arg(from).arg(to))
}

/// Takes what only a debugger reads out of a program, where there is a tool for it.
fn strip(program: &Path) {
    let mut strip = Command::new("strip");
    if !process::succeeds(strip.arg("--strip-all").arg(program)) {
        println!("{} is packed with its debugging symbols: no `strip` here", program.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_parts_read_is_in_the_checkout() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for source in SOURCES {
            assert!(root.join(source).exists(), "{source}");
        }
    }

    #[test]
    fn shims_and_plugins_are_found_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["shim/libcumo_trt_rtx.so", "plugin/rtx/libcumo_plugin.so", "shim/a.o"] {
            let file = folder.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        let found = shared_objects(folder.path()).unwrap();
        let want = ["plugin/rtx/libcumo_plugin.so", "shim/libcumo_trt_rtx.so"];
        assert_eq!(found, want.map(|name| folder.path().join(name)));
    }
}
