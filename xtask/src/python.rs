//! Python: the interpreter, a `pip` for it, and the packages that the tests need.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::workspace::Workspace;
use crate::{folder, process};

const REQUIREMENTS: &str = "tests/python/requirements.txt";

/// The oldest Python that the pinned `onnxruntime` supports.
const MINIMUM: (u32, u32) = (3, 11);

/// A command that starts the interpreter: `$PYTHON`, or `python3`.
pub(crate) fn interpreter() -> Command {
    Command::new(std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into()))
}

/// The interpreter with the packages of `tests/python/requirements.txt`, fetched where missing.
///
/// They are installed into a folder of their own below `target/native`, which needs neither `venv`
/// nor administrator's rights and leaves the machine's Python as it is.
///
/// # Errors
/// Python is missing or too old, has no `pip`, or the packages cannot be fetched.
pub(crate) fn with_packages(workspace: &Workspace) -> Result<Command> {
    let mut command = interpreter();
    command.env("PYTHONPATH", ensure_packages(workspace)?).current_dir(&workspace.root);
    Ok(command)
}

/// The interpreter, with the packages where they are there; nothing is fetched.
pub(crate) fn with_packages_if_there(workspace: &Workspace) -> Command {
    let mut command = interpreter();
    if let Some(folder) = packages_folder(workspace).ok().filter(|folder| folder.is_dir()) {
        command.env("PYTHONPATH", folder);
    }
    command.current_dir(&workspace.root);
    command
}

/// Where the packages are, or would be.
fn packages_folder(workspace: &Workspace) -> Result<PathBuf> {
    let requirements = workspace.root.join(REQUIREMENTS);
    let pinned = fs::read(&requirements).with_context(|| requirements.display().to_string())?;
    let version = version()?;
    let mut hash = Sha256::new();
    hash.update(&pinned);
    hash.update(format!("{version:?} {}", std::env::consts::ARCH));
    let digest = hex(&hash.finalize());
    let name = format!("python{}.{}-{}", version.0, version.1, &digest[..12]);
    Ok(workspace.native().join(name))
}

/// The folder of the packages, made where it is missing. See [`with_packages`].
pub(crate) fn ensure_packages(workspace: &Workspace) -> Result<PathBuf> {
    let (requirements, version) = (workspace.root.join(REQUIREMENTS), version()?);
    let folder = packages_folder(workspace)?;
    if folder.is_dir() {
        println!("Python packages: {}", workspace.show(&folder));
        return Ok(folder);
    }
    if version < MINIMUM {
        bail!(
            "Python {}.{} found, the tests need {}.{} or later; name another one with PYTHON=...",
            version.0,
            version.1,
            MINIMUM.0,
            MINIMUM.1
        );
    }
    let temporary = temporary_folder(workspace)?;
    let mut install = pip(workspace)?;
    install.args(["install", "--quiet", "--only-binary=:all:", "--no-warn-script-location"]);
    install.arg("--target").arg(temporary.path()).arg("--requirement").arg(&requirements);
    process::run(&mut install).context("cannot install the Python packages of the tests")?;
    move_into_place(temporary, &folder)?;
    println!("Python packages: {} (installed)", workspace.show(&folder));
    Ok(folder)
}

/// Major and minor version of the interpreter.
fn version() -> Result<(u32, u32)> {
    let script = "import sys; print(*sys.version_info[:2])";
    let text = process::read(interpreter().args(["-c", script]))
        .context("Python 3 is needed (on Debian and Ubuntu: apt-get install python3)")?;
    let mut numbers = text.split_whitespace().map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok((major, minor)),
        _ => bail!("Python calls its version `{}`", text.trim()),
    }
}

/// A command that starts `pip`.
///
/// Debian's and Ubuntu's Python has none; then the wheel of Debian's package `python3-pip-whl`
/// serves, which `apt-get download` gets without administrator's rights.
///
/// # Errors
/// There is no Python, or no pip by any of these ways.
pub(crate) fn pip(workspace: &Workspace) -> Result<Command> {
    version()?;
    let mut pip = interpreter();
    // It warns of installing as root; nothing of the system's is touched here.
    pip.env("PIP_ROOT_USER_ACTION", "ignore").env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    if process::succeeds(interpreter().args(["-m", "pip", "--version"])) {
        pip.args(["-m", "pip"]);
        return Ok(pip);
    }
    let wheel = match pip_wheel(Path::new("/usr/share/python-wheels")) {
        Some(wheel) => wheel,
        None => fetch_pip_wheel(workspace).context(
            "Python has no pip and none could be fetched; \
             on Debian and Ubuntu: apt-get install python3-pip",
        )?,
    };
    pip.arg(wheel.join("pip"));
    Ok(pip)
}

fn pip_wheel(folder: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?;
    entries.flatten().map(|entry| entry.path()).find(|path| {
        let name = path.file_name().map(OsString::from).unwrap_or_default();
        let name = name.to_string_lossy();
        name.starts_with("pip-") && name.ends_with(".whl")
    })
}

fn fetch_pip_wheel(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.native().join("pip");
    let wheels = folder.join("usr/share/python-wheels");
    if let Some(wheel) = pip_wheel(&wheels) {
        return Ok(wheel);
    }
    let temporary = temporary_folder(workspace)?;
    let mut download = Command::new("apt-get");
    download.args(["download", "python3-pip-whl"]).current_dir(temporary.path());
    process::run(&mut download)?;
    let package = fs::read_dir(temporary.path())?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .context("apt-get left no package")?;
    process::run(Command::new("dpkg-deb").arg("-x").arg(&package).arg(temporary.path()))?;
    move_into_place(temporary, &folder)?;
    pip_wheel(&wheels).context("the package python3-pip-whl holds no pip wheel")
}

/// A folder below `target/native` that goes away unless [`move_into_place`] keeps it.
pub(crate) fn temporary_folder(workspace: &Workspace) -> Result<tempfile::TempDir> {
    let native = workspace.native();
    fs::create_dir_all(&native).with_context(|| native.display().to_string())?;
    let folder = tempfile::Builder::new()
        .prefix(".incomplete-")
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir_in(&native);
    folder.with_context(|| format!("cannot make a folder in {}", native.display()))
}

/// Renames a complete folder to its final name: the name never stands for half of it.
pub(crate) fn move_into_place(temporary: tempfile::TempDir, folder: &Path) -> Result<()> {
    folder::remove(folder)?;
    fs::rename(temporary.path(), folder)
        .with_context(|| format!("cannot move a complete folder to {}", folder.display()))?;
    let _ = temporary.keep();
    Ok(())
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
