//! `cargo xtask lint`: every check that runs no test.

use anyhow::{Result, bail};

use crate::workspace::Workspace;
use crate::{features, licences, native, performance, process, tidy};

type Check = fn(&Workspace) -> Result<()>;

/// Runs all checks, also those after one that failed.
///
/// # Errors
/// Names the checks that failed; their output stands above.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let checks: [(&str, Check); 7] = [
        ("formatting", formatting),
        ("tidy", tidy::run),
        ("licences", licences::run),
        ("features", features::run),
        ("results", performance::check),
        ("clippy", clippy),
        ("docs", docs),
    ];
    let mut failed = Vec::new();
    for (name, check) in checks {
        println!("== {name}");
        if let Err(error) = check(workspace) {
            println!("{error:#}");
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

/// Writes Rust, C, C++ and CUDA as [`formatting`] wants them.
///
/// # Errors
/// A formatter is not there, or fails.
pub(crate) fn format(workspace: &Workspace) -> Result<()> {
    process::run(process::cargo().args(["fmt", "--all"]).current_dir(&workspace.root))?;
    native::format::write(workspace)
}

fn formatting(workspace: &Workspace) -> Result<()> {
    let rust = process::run(
        process::cargo().args(["fmt", "--all", "--check"]).current_dir(&workspace.root),
    );
    // Both are told, also where the first fails.
    let cxx = native::format::check(workspace);
    rust.and(cxx)
}

fn clippy(workspace: &Workspace) -> Result<()> {
    let mut cargo = process::cargo();
    cargo.args(["clippy", "--locked", "--workspace", "--all-targets", "--"]);
    cargo.args(["-D", "warnings", "-D", "clippy::undocumented_unsafe_blocks"]);
    process::run(cargo.current_dir(&workspace.root))
}

fn docs(workspace: &Workspace) -> Result<()> {
    let mut cargo = process::cargo();
    cargo.args(["doc", "--locked", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
    process::run(cargo.current_dir(&workspace.root))
}
