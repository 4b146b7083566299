//! Debian's packages, pinned, unpacked into `target/native` without administrator's rights: nothing
//! of the machine is changed.

use std::error::Error;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;
use crate::{pinned, process, python};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Where packages are taken from when no source of this machine is Debian's archive.
const ARCHIVE: &str = "http://deb.debian.org/debian";

/// A folder below `target/native` and the packages that fill it.
pub(super) struct Folder {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    pub(super) suite: &'static str,
    pub(super) packages: &'static [Package],
    /// Files without which the folder is not whole.
    pub(super) needed: &'static [&'static str],
}

/// A package for x86-64 machines.
pub(super) struct Package {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    pub(super) sha256: &'static str,
}

/// The archive has another version of a package now, or none. The pin is to be renewed; a machine
/// without the package can do without what needs it.
#[derive(Debug)]
pub(crate) struct NotInArchive {
    package: String,
    suite: &'static str,
}

impl fmt::Display for NotInArchive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Debian's archive has no {} in {} any more", self.package, self.suite)
    }
}

impl Error for NotInArchive {}

/// The file that says from which packages a folder was made.
const RECORD: &str = "packages.sha256";

/// The folder's files, fetched unless they are there from the same packages.
///
/// # Errors
/// This is no x86-64 Debian; [`NotInArchive`]; a package cannot be fetched or is not the pinned one.
pub(super) fn ensure(workspace: &Workspace, folder: &Folder) -> Result<PathBuf> {
    let path = workspace.native().join(folder.name);
    let line = |package: &Package| format!("{} {}\n", package.sha256, package.name);
    let record: String = folder.packages.iter().map(line).collect();
    let what = format!("{}: {}", folder.what, workspace.show(&path));
    let is_whole = |path: &Path| folder.needed.iter().all(|file| path.join(file).exists());
    if is_whole(&path) && fs::read_to_string(path.join(RECORD)).is_ok_and(|it| it == record) {
        println!("{what} (fetched before)");
        return Ok(path);
    }
    if std::env::consts::ARCH != "x86_64" || !Path::new(KEYRING).is_file() {
        bail!("{} can be fetched on x86-64 Debian only", folder.what);
    }
    let unpacked = python::temporary_folder(workspace)?;
    let download = python::temporary_folder(workspace)?;
    let apt = Apt::new(folder.suite)?;
    for package in folder.packages {
        let archive = apt.download(package, download.path())?;
        process::run(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(unpacked.path()))?;
    }
    if !is_whole(unpacked.path()) {
        bail!("{}: the packages lack one of {}", folder.what, folder.needed.join(", "));
    }
    fs::write(unpacked.path().join(RECORD), record)?;
    python::move_into_place(unpacked, &path)?;
    println!("{what} (fetched)");
    Ok(path)
}

/// An apt that knows one suite and has lists, state and cache of its own.
struct Apt {
    suite: &'static str,
    folder: tempfile::TempDir,
}

impl Apt {
    fn new(suite: &'static str) -> Result<Self> {
        let folder = tempfile::tempdir().context("a folder for apt")?;
        let path = folder.path();
        for name in ["lists/partial", "cache/archives/partial", "state", "sources"] {
            fs::create_dir_all(path.join(name))?;
        }
        let archive = archive();
        fs::write(
            path.join("sources.list"),
            format!("deb [arch=amd64 signed-by={KEYRING}] {archive} {suite} main\n"),
        )?;
        fs::write(path.join("status"), "")?;
        let settings = format!(
            "Dir::Etc::sourcelist \"{0}/sources.list\";\nDir::Etc::sourceparts \"{0}/sources\";\n\
             Dir::State \"{0}/state\";\nDir::State::lists \"{0}/lists\";\n\
             Dir::State::status \"{0}/status\";\nDir::Cache \"{0}/cache\";\n\
             APT::Architecture \"amd64\";\nAPT::Architectures {{ \"amd64\"; }};\n\
             Acquire::Languages \"none\";\nAPT::Sandbox::User \"\";\n",
            path.display()
        );
        fs::write(path.join("apt.conf"), settings)?;
        let apt = Apt { suite, folder };
        process::run(apt.command("apt-get").args(["-qq", "update"]))
            .with_context(|| format!("cannot read the list of packages of Debian's {suite}"))?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.folder.path().join("apt.conf"));
        command
    }

    /// Downloads a package and checks it.
    fn download(&self, package: &Package, folder: &Path) -> Result<PathBuf> {
        let name = format!("{}={}", package.name, package.version);
        if !process::succeeds(self.command("apt-cache").args(["show", &name])) {
            return Err(NotInArchive { package: name, suite: self.suite }.into());
        }
        let mut download = self.command("apt-get");
        process::run(download.args(["-qq", "download", &name]).current_dir(folder))?;
        let start = format!("{}_", package.name);
        let mut files = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
        let archive = files.find(|path| {
            path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(&start))
        });
        let archive = archive.with_context(|| format!("apt-get left no file of {name}"))?;
        pinned::check(&archive, package.sha256)?;
        Ok(archive)
    }
}

/// The address of Debian's archive that this machine uses.
fn archive() -> String {
    let parts = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    let files = parts.map(|entry| entry.path()).chain([PathBuf::from("/etc/apt/sources.list")]);
    let texts: String = files.filter_map(|file| fs::read_to_string(file).ok()).collect();
    debian_address(&texts).unwrap_or(ARCHIVE).to_owned()
}

/// The first address of sources, in either of apt's formats, that ends in `/debian`.
fn debian_address(sources: &str) -> Option<&str> {
    let lines = sources.lines().filter(|line| !line.trim_start().starts_with('#'));
    let words = lines.flat_map(str::split_whitespace);
    words.map(|word| word.trim_end_matches('/')).find(|word| {
        (word.starts_with("http://") || word.starts_with("https://")) && word.ends_with("/debian")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_the_one_that_the_machine_uses() {
        let sources = "# deb http://old/debian x main\n\
            deb https://else.example/apt stable main\n\
            URIs: http://mirror.example/debian-security\nURIs: http://mirror.example/debian/\n";
        assert_eq!(debian_address(sources), Some("http://mirror.example/debian"));
        assert_eq!(debian_address("deb http://archive.ubuntu.com/ubuntu jammy main"), None);
    }

    #[test]
    fn a_package_that_is_gone_is_named() {
        let gone = NotInArchive { package: "rust-src=1".to_owned(), suite: "trixie-backports" };
        let error = anyhow::Error::from(gone).context("outer");
        assert!(error.downcast_ref::<NotInArchive>().is_some());
        assert!(format!("{error:#}").contains("no rust-src=1 in trixie-backports any more"));
    }
}
