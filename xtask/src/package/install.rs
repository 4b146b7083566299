//! The package as `dpkg` installs it, below a folder of its own, where nothing of this machine is
//! changed: installed, over itself, removed and purged.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::contents::NAME;
use crate::process;

/// A bundle that somebody has put where bundles go.
const BUNDLE: &str = "var/lib/cumo-edge/bundles/mine/manifest.json";

/// Where `dpkg` keeps what it knows.
const STATE: &str = "var/lib/dpkg";

/// Installs a package, once more over itself, removes it, and installs and purges it: each time the
/// program is there or gone, a bundle stays, and in the end nothing else is left.
///
/// # Errors
/// `dpkg` fails, or leaves or takes what it must not.
pub(super) fn check(file: &Path) -> Result<()> {
    let Some(dpkg) = dpkg() else {
        println!("skipped: installing the package, which asks for an administrator or fakeroot");
        return Ok(());
    };
    let root = tempfile::tempdir()?;
    let state = root.path().join(STATE);
    for folder in ["info", "updates", "triggers"] {
        fs::create_dir_all(state.join(folder))?;
    }
    fs::write(state.join("status"), "")?;
    let file = file.to_str().context("the package's path is not UTF-8")?;
    for (action, what, installed) in [
        ("--install", file, true),
        ("--install", file, true),
        ("--remove", NAME, false),
        ("--install", file, true),
        ("--purge", NAME, false),
    ] {
        run(&dpkg, root.path(), action, what)?;
        if root.path().join("usr/bin/cumo").is_file() != installed {
            bail!(
                "after `dpkg {action}` the program is {}",
                if installed { "missing" } else { "there" }
            );
        }
        let bundle = root.path().join(BUNDLE);
        if !bundle.exists() {
            if !installed {
                bail!("`dpkg {action}` takes {BUNDLE} away");
            }
            fs::create_dir(bundle.parent().context("a bundle has a folder")?)?;
            fs::write(&bundle, "{}")?;
        }
    }
    let left = files(root.path())?;
    if left != [root.path().join(BUNDLE)] {
        bail!("after `dpkg --purge` there is left: {left:?}");
    }
    println!(
        "{NAME}: installed, over itself, removed and purged; a bundle stayed, and nothing else"
    );
    Ok(())
}

/// `dpkg` as somebody who may give files away; none: there is no such way.
fn dpkg() -> Option<Vec<&'static str>> {
    let is_administrator =
        process::read(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    if is_administrator {
        return Some(vec!["dpkg"]);
    }
    process::succeeds(Command::new("fakeroot").arg("--version")).then(|| vec!["fakeroot", "dpkg"])
}

fn run(dpkg: &[&str], root: &Path, action: &str, what: &str) -> Result<()> {
    let mut command = Command::new(dpkg[0]);
    command.args(&dpkg[1..]).arg(format!("--root={}", root.display()));
    // What the package depends on is not below this root, which may be of another machine's kind.
    command.args([
        "--force-depends",
        "--force-architecture",
        "--force-bad-path",
        "--log=/dev/null",
    ]);
    process::run(command.args([action, what]))
}

/// Files below a root, without those of `dpkg`.
fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path == root.join(STATE) {
                continue;
            }
            match path.is_dir() {
                true => open.push(path),
                false => found.push(path),
            }
        }
    }
    found.sort();
    Ok(found)
}
