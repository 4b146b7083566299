//! NVIDIA's packages and build tools from PyPI, pinned, unpacked into `target/native`.

mod pins;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;
use crate::{pinned, process, python};
pub(super) use pins::{CLANG_FORMAT, CUDA_RUNTIME_AARCH64};
use pins::{CMAKE, CUDA, TENSORRT_LEAN_10, TENSORRT_LEAN_11, TENSORRT_RTX};

/// A folder below `target/native` and the wheels that fill it.
pub(super) struct Folder {
    /// Its name.
    pub(super) name: &'static str,
    what: &'static str,
    /// The machine that the files are for.
    arch: &'static str,
    wheels: &'static [Wheel],
    /// Where set, only the files directly in folders of this name are taken, without the folder.
    only: Option<&'static str>,
    /// Links and what they point to.
    links: &'static [(&'static str, &'static str)],
    /// Files without which the folder is not whole.
    needed: &'static [&'static str],
}

/// A wheel that is the same for every version of Python.
struct Wheel {
    package: &'static str,
    version: &'static str,
    /// By machine: `std::env::consts::ARCH`, SHA-256.
    sha256: &'static [(&'static str, &'static str)],
}

/// The file that says from which wheels a folder was made.
const RECORD: &str = "wheels.sha256";

/// What this machine needs fetched: tools that are installed are not.
pub(super) fn for_this_machine() -> Vec<&'static Folder> {
    let mut folders = vec![&CUDA, &TENSORRT_RTX, &TENSORRT_LEAN_10, &TENSORRT_LEAN_11];
    if !super::build::tools_are_installed() {
        folders.push(&CMAKE);
    }
    folders
}

/// The folder's files, fetched unless they are there from the same wheels; whether they were fetched.
///
/// # Errors
/// pip cannot fetch a wheel, or it is not the pinned one, or lacks a file.
pub(super) fn ensure(workspace: &Workspace, folder: &Folder) -> Result<bool> {
    let path = workspace.native().join(folder.name);
    let wheels: Vec<_> = folder.wheels.iter().filter(|w| w.hash(folder.arch).is_some()).collect();
    if wheels.is_empty() {
        println!("{}: none for {}", folder.what, folder.arch);
        return Ok(false);
    }
    let record: String = wheels.iter().map(|wheel| wheel.line(folder.arch)).collect();
    let what = format!("{}: {}", folder.what, workspace.show(&path));
    let missing = folder.missing(&path);
    if missing.is_empty() && fs::read_to_string(path.join(RECORD)).is_ok_and(|it| it == record) {
        println!("{what} (fetched before)");
        return Ok(false);
    }
    let unpacked = python::temporary_folder(workspace)?;
    for wheel in wheels {
        let download = python::temporary_folder(workspace)?;
        let archive = wheel.fetch(workspace, folder.arch, download.path())?;
        unpack(&archive, unpacked.path(), folder.only)?;
    }
    for (link, file) in folder.links {
        symlink(file, unpacked.path().join(link)).with_context(|| format!("cannot link {link}"))?;
    }
    let missing = folder.missing(unpacked.path());
    if !missing.is_empty() {
        bail!("{}: the packages lack {}", folder.what, missing.join(", "));
    }
    fs::write(unpacked.path().join(RECORD), record)?;
    python::move_into_place(unpacked, &path)?;
    println!("{what} (fetched)");
    Ok(true)
}

impl Folder {
    /// What a folder with this one's files lacks.
    fn missing(&self, path: &Path) -> Vec<&'static str> {
        self.needed.iter().copied().filter(|file| !path.join(file).is_file()).collect()
    }
}

impl Wheel {
    /// The hash for a machine.
    fn hash(&self, arch: &str) -> Option<&'static str> {
        self.sha256.iter().find(|(of, _)| *of == arch).map(|(_, hash)| *hash)
    }

    fn line(&self, arch: &str) -> String {
        format!("{} {}=={}\n", self.hash(arch).unwrap_or_default(), self.package, self.version)
    }

    /// Downloads into an empty folder and checks.
    fn fetch(&self, workspace: &Workspace, arch: &str, folder: &Path) -> Result<PathBuf> {
        let mut pip = python::pip(workspace)?;
        pip.args(["download", "--quiet", "--no-deps", "--only-binary=:all:"]);
        for platform in ["2_12", "2_17", "2_28", "2_31", "2_35"] {
            pip.args(["--platform", &format!("manylinux_{platform}_{arch}")]);
        }
        for platform in ["2010", "2014"] {
            pip.args(["--platform", &format!("manylinux{platform}_{arch}")]);
        }
        pip.args(["--python-version", "3.12"]);
        pip.arg(format!("{}=={}", self.package, self.version)).arg("--dest").arg(folder);
        process::run(&mut pip).with_context(|| format!("cannot fetch {}", self.package))?;
        let mut files = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
        let Some(archive) = files.find(|path| path.extension().is_some_and(|e| e == "whl")) else {
            bail!("pip left no wheel of {} {}", self.package, self.version);
        };
        pinned::check(&archive, self.hash(arch).unwrap_or_default())?;
        Ok(archive)
    }
}

/// Unpacks a wheel with the permissions in it; licence texts are always kept. Of `data/scripts`
/// the files go to `bin`, where pip would put them.
fn unpack(archive: &Path, folder: &Path, only: Option<&str>) -> Result<()> {
    const SCRIPT: &str = "\
import os, re, shutil, sys, zipfile
archive, folder, only = sys.argv[1:]
with zipfile.ZipFile(archive) as wheel:
    for member in wheel.infolist():
        name = re.sub(r'^[^/]+\\.data/scripts/', 'bin/', member.filename)
        parent, base = os.path.split(name)
        if only:
            licence = '.dist-info' in parent and 'LICENSE' in base.upper()
            if not licence and (parent != only or base.endswith('.py')):
                continue
            name = base
        path = os.path.join(folder, name)
        if name.endswith('/') or '..' in name.split('/'):
            continue
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with wheel.open(member) as source, open(path, 'wb') as file:
            shutil.copyfileobj(source, file)
        os.chmod(path, 0o755 if (member.external_attr >> 16) & 0o111 else 0o644)
";
    let mut python = python::interpreter();
    python.args(["-c", SCRIPT]).arg(archive).arg(folder).arg(only.unwrap_or_default());
    process::read(&mut python).with_context(|| format!("cannot unpack {}", archive.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wheel_is_pinned_by_a_sha256() {
        let tools = [&CMAKE, &CLANG_FORMAT];
        let folders = [&CUDA, &TENSORRT_RTX, &TENSORRT_LEAN_10, &TENSORRT_LEAN_11];
        for folder in folders.into_iter().chain(tools) {
            for wheel in folder.wheels {
                for (arch, hash) in wheel.sha256 {
                    let digits = hash.bytes().filter(u8::is_ascii_hexdigit).count();
                    assert_eq!((digits, hash.len()), (64, 64), "{} {arch}", wheel.package);
                }
            }
        }
    }

    #[test]
    fn a_folder_that_lacks_a_file_is_not_whole() {
        let folder = tempfile::tempdir().unwrap();
        let named = |name: &str| folder.path().join(name);
        assert_eq!(TENSORRT_LEAN_11.missing(folder.path()), TENSORRT_LEAN_11.needed);
        fs::write(named("LICENSE.txt"), "").unwrap();
        // A link that leads nowhere is no file.
        symlink("nowhere", named("libnvinfer_lean.so.11")).unwrap();
        assert_eq!(TENSORRT_LEAN_11.missing(folder.path()), ["libnvinfer_lean.so.11"]);
        fs::write(named("nowhere"), "").unwrap();
        assert!(TENSORRT_LEAN_11.missing(folder.path()).is_empty());
    }

    #[test]
    fn unpacks_one_folder_flat_and_keeps_programs_executable() {
        use std::os::unix::fs::PermissionsExt;
        const MAKE: &str = "\
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], 'w') as wheel:
    for name, mode in [('libs/a.so', 0o644), ('libs/__init__.py', 0o644), ('other/b', 0o644),
                       ('x.dist-info/LICENSE.txt', 0o644), ('x.data/scripts/tool', 0o755),
                       ('../outside', 0o644)]:
        member = zipfile.ZipInfo(name)
        member.external_attr = mode << 16
        wheel.writestr(member, name)
";
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("some.whl");
        process::read(python::interpreter().args(["-c", MAKE]).arg(&archive)).unwrap();

        let flat = folder.path().join("flat");
        unpack(&archive, &flat, Some("libs")).unwrap();
        let mut names: Vec<_> =
            fs::read_dir(&flat).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["LICENSE.txt", "a.so"]);

        let whole = folder.path().join("whole");
        unpack(&archive, &whole, None).unwrap();
        let mode = |name: &str| fs::metadata(whole.join(name)).unwrap().permissions().mode();
        assert_eq!(mode("bin/tool") & 0o777, 0o755);
        assert_eq!(mode("other/b") & 0o777, 0o644);
        assert!(!folder.path().join("outside").exists());
    }
}
