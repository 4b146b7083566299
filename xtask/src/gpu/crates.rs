//! The crates of the lock file, which cargo must have before it is run without a network.

use std::process::Command;

use anyhow::{Context, Result, bail};

use super::table::{Outcome, Table};
use crate::process;
use crate::workspace::Workspace;

/// What to do before a machine is without a network.
pub(super) const PREPARE: &str = "with a network, run `cargo fetch --locked` and \
     `cargo xtask setup --python --tensorrt` before, or bring CARGO_HOME and target/native along";

/// Makes sure that cargo has all crates; fetches those that are missing. A failure is a row.
pub(super) fn ensure(workspace: &Workspace, table: &mut Table) {
    println!("== crates");
    let result = host().and_then(|host| fetch(workspace, &host));
    if let Err(error) = result {
        let figure = format!("not all crates are here: {error:#}; {PREPARE}");
        table.add("crates of the lock file", Outcome::Failed, &figure);
    }
}

/// Without a network first: with one, cargo would ask its registry though nothing is missing.
fn fetch(workspace: &Workspace, host: &str) -> Result<()> {
    let cargo = |offline: &[&str]| {
        let mut cargo = process::cargo();
        cargo.args(["fetch", "--locked", "--quiet", "--target", host]).args(offline);
        cargo.current_dir(&workspace.root);
        cargo
    };
    if process::succeeds(&mut cargo(&["--offline"])) {
        return Ok(());
    }
    process::run(&mut cargo(&[]))
}

/// The target that the compiler makes programs for by itself.
fn host() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    parse_host(&process::read(Command::new(rustc).arg("-vV"))?)
}

fn parse_host(text: &str) -> Result<String> {
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    match host.context("rustc does not say what it compiles for")?.trim() {
        "" => bail!("rustc says that it compiles for nothing"),
        host => Ok(host.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_a_line_of_rustcs() {
        let text =
            "rustc 1.95.0\nbinary: rustc\nhost: aarch64-unknown-linux-gnu\nrelease: 1.95.0\n";
        assert_eq!(parse_host(text).unwrap(), "aarch64-unknown-linux-gnu");
        parse_host("rustc 1.95.0\n").unwrap_err();
        assert_eq!(parse_host(&format!("host: {}\n", host().unwrap())).unwrap(), host().unwrap());
    }
}
