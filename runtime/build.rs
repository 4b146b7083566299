//! Tells the program the commit that it is built from, which results of `cumo bench` name.
//!
//! Of release builds of a git checkout only: others would have to be built anew at each commit. A
//! folder that is no checkout, or a machine without git, gives a program that does not know.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("PROFILE").as_deref() != Ok("release") {
        return;
    }
    // Only where this crate is the checkout's own, and not in somebody else's repository.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let top =
        git(&["rev-parse", "--show-toplevel"]).and_then(|top| Path::new(&top).canonicalize().ok());
    if top.is_none() || top != root.canonicalize().ok() {
        return;
    }
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={log}");
    }
    if let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) {
        println!("cargo::rustc-env=CUMO_COMMIT={commit}");
    }
}

/// What git says, in one line; none where it fails.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let line = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !line.trim().is_empty()).then(|| line.trim().to_owned())
}
