//! The file of a package: laid out, described, packed by `dpkg-deb`, and looked at.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::binary::{GLIBC, dotted};
use super::contents::NAME;
use super::libraries::LIBSTDCXX;
use super::target::Target;
use crate::process;
use crate::workspace::Workspace;

/// Files without which a package is not whole.
const NEEDED: [&str; 15] = [
    "usr/bin/cumo",
    "usr/share/man/man1/cumo.1.gz",
    "usr/share/man/man1/cumo-run.1.gz",
    "usr/share/bash-completion/completions/cumo",
    "usr/share/zsh/vendor-completions/_cumo",
    "usr/share/fish/vendor_completions.d/cumo.fish",
    "usr/share/doc/cumo-edge/copyright",
    "usr/share/doc/cumo-edge/changelog.gz",
    "usr/share/doc/cumo-edge/third-party.gz",
    "usr/share/doc/cumo-edge/docs/jetson.md",
    "usr/share/doc/cumo-edge/docs/pc.md",
    "usr/share/doc/cumo-edge/docs/bench.md",
    "usr/share/doc/cumo-edge/docs/plan.md",
    "usr/share/cumo-edge/native/build.sh",
    "var/lib/cumo-edge/bundles",
];

/// Packs what lies below `root` into a file in `output`; `with_native`: native libraries are among it. The same bytes for the same files and time.
///
/// # Errors
/// A file cannot be read or written, or `dpkg-deb` fails.
pub(super) fn pack(
    workspace: &Workspace,
    target: Target,
    with_native: bool,
    root: &Path,
    output: &Path,
) -> Result<PathBuf> {
    let files = walk(root)?;
    let bytes: u64 = files.iter().map(|file| file.bytes.unwrap_or(0).div_ceil(1024)).sum();
    let folder = root.join("DEBIAN");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("control"), control(target, with_native, bytes))?;
    fs::write(folder.join("md5sums"), md5sums(root, &files)?)?;
    set_modes(root)?;
    fs::create_dir_all(output).with_context(|| output.display().to_string())?;
    let version = env!("CARGO_PKG_VERSION");
    let file = output.join(format!("{NAME}_{version}_{}.deb", target.debian()));
    let mut dpkg = Command::new("dpkg-deb");
    dpkg.env("SOURCE_DATE_EPOCH", epoch(workspace)?);
    dpkg.args(["--root-owner-group", "-Zxz", "--build"]).arg(root).arg(&file);
    process::run(&mut dpkg).context("dpkg-deb is needed (Debian, Ubuntu and JetPack have it)")?;
    fs::remove_dir_all(&folder)?;
    Ok(file)
}

/// The time of all that is packed, in seconds since 1970: `$SOURCE_DATE_EPOCH`, or the commit's.
fn epoch(workspace: &Workspace) -> Result<String> {
    if let Ok(epoch) = std::env::var("SOURCE_DATE_EPOCH") {
        return Ok(epoch);
    }
    let mut git = Command::new("git");
    git.args(["log", "-1", "--format=%ct"]).current_dir(&workspace.root);
    Ok(process::read(&mut git)?.trim().to_owned())
}

/// The file `control`. Its maintainer is who makes the package, by the variables of Debian's tools;
/// without them it is nobody who could be written to. What is needed is written by hand: tools that find it out name this machine's
/// glibc, which JetPack 6 does not have.
fn control(target: Target, with_native: bool, kibibytes: u64) -> String {
    let maintainer = || {
        let (name, address) = (std::env::var("DEBFULLNAME").ok()?, std::env::var("DEBEMAIL").ok()?);
        Some(format!("{name} <{address}>"))
    };
    let libstdcxx = match with_native {
        true => format!(", libstdc++6 (>= {LIBSTDCXX})"),
        false => String::new(),
    };
    let maintainer = maintainer().unwrap_or_else(|| "CuMo Edge <cumo-edge@localhost>".to_owned());
    format!(
        "Package: {NAME}\nVersion: {}\nArchitecture: {}\nMaintainer: {maintainer}\n\
         Installed-Size: {kibibytes}\nDepends: libc6 (>= {}), libgcc-s1{libstdcxx}\n\
         Suggests: cmake, g++, nvidia-jetpack\nSection: science\nPriority: optional\n\
         Description: answers questions about images with CuMo models\n \
         The program cumo runs CuMo models that cumo-export has written, with TensorRT\n \
         on NVIDIA GPUs and Jetsons, or with ONNX Runtime on any processor. Neither is\n \
         in this package: see /usr/share/doc/{NAME}/docs/jetson.md.\n",
        env!("CARGO_PKG_VERSION"),
        target.debian(),
        dotted(&GLIBC),
    )
}

/// A file or folder below a root.
struct Entry {
    /// Its path from the root.
    path: String,
    /// A file's size; none for a folder.
    bytes: Option<u64>,
}

/// All files and folders below a root, by path.
fn walk(root: &Path) -> Result<Vec<Entry>> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            let metadata = fs::symlink_metadata(&path)?;
            let relative = path.strip_prefix(root)?.to_str().context("a name is not UTF-8")?;
            let bytes = metadata.is_file().then_some(metadata.len());
            found.push(Entry { path: relative.to_owned(), bytes });
            if metadata.is_dir() {
                open.push(path);
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn md5sums(root: &Path, files: &[Entry]) -> Result<String> {
    let paths = files.iter().filter(|file| file.bytes.is_some()).map(|file| &file.path);
    process::read(Command::new("md5sum").current_dir(root).args(paths))
}

/// Folders as everybody may enter them, whatever this process's mask.
fn set_modes(root: &Path) -> Result<()> {
    let folders = walk(root)?.into_iter().filter(|entry| entry.bytes.is_none());
    for folder in folders.map(|entry| root.join(entry.path)).chain([root.to_owned()]) {
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
    }
    for file in ["control", "md5sums"] {
        fs::set_permissions(root.join("DEBIAN").join(file), fs::Permissions::from_mode(0o644))?;
    }
    Ok(())
}

/// Unpacks a package below `root`, and checks what a user would stumble over: files that are
/// missing, that belong to somebody, that others may write, or paths of this machine in them.
///
/// # Errors
/// Every finding.
pub(super) fn check(workspace: &Workspace, file: &Path, root: &Path) -> Result<()> {
    process::run(Command::new("dpkg-deb").arg("-x").arg(file).arg(root))?;
    let mut problems: Vec<String> = NEEDED
        .iter()
        .filter(|path| !root.join(path).exists())
        .map(|path| format!("{path} is missing"))
        .collect();
    let listing = process::read(Command::new("dpkg-deb").arg("--contents").arg(file))?;
    problems.extend(listing.lines().filter_map(odd_line));
    let here = workspace.root.display().to_string();
    for entry in walk(root)?.iter().filter(|entry| entry.bytes.is_some()) {
        let bytes = fs::read(root.join(&entry.path))?;
        if bytes.windows(here.len()).any(|window| window == here.as_bytes()) {
            problems.push(format!("{} holds `{here}`", entry.path));
        }
    }
    if !problems.is_empty() {
        bail!("{}:\n  {}", file.display(), problems.join("\n  "));
    }
    let bytes = fs::metadata(file)?.len();
    println!(
        "{}: {:.2} MB, {} files",
        workspace.show(file),
        bytes as f64 / 1e6,
        listing.lines().count()
    );
    Ok(())
}

/// What is wrong with a line of `dpkg-deb --contents`: `-rwxr-xr-x root/root 123 2026-... ./usr/x`.
fn odd_line(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let (mode, owner) = (words.next()?, words.next()?);
    let others_write = mode.as_bytes().get(8) == Some(&b'w');
    let wrong = mode.starts_with('l') || owner != "root/root" || others_write || mode.contains('s');
    wrong.then(|| format!("odd: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_package_needs_is_what_jetpack_6_has() {
        let text = control(Target::Aarch64, false, 7);
        for line in [
            "Package: cumo-edge",
            "Architecture: arm64",
            "Installed-Size: 7",
            "Depends: libc6 (>= 2.34), libgcc-s1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} not in {text}");
        }
        assert!(text.lines().all(|line| line.len() <= 80));
        assert!(text.ends_with('\n'));
        let text = control(Target::Aarch64, true, 7);
        assert!(
            text.contains("Depends: libc6 (>= 2.34), libgcc-s1, libstdc++6 (>= 12)\n"),
            "{text}"
        );
    }

    #[test]
    fn files_that_others_own_or_may_write_are_odd() {
        assert_eq!(odd_line("-rwxr-xr-x root/root 1 2026-01-01 00:00 ./usr/bin/cumo"), None);
        assert_eq!(odd_line("drwxr-xr-x root/root 0 2026-01-01 00:00 ./usr/"), None);
        for odd in [
            "-rw-rw-rw- root/root 1 x ./a",
            "-rw-r--r-- me/me 1 x ./a",
            "-rwsr-xr-x root/root 1 x ./a",
            "lrwxrwxrwx root/root 1 x ./a -> b",
        ] {
            assert!(odd_line(odd).is_some(), "{odd}");
        }
    }
}
