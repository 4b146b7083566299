//! Child processes: run with their output passed through, or read.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// A command line as it would be typed, for messages.
pub(crate) fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// The file name of a program, for messages.
fn program(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    program.file_name().unwrap_or(OsStr::new("?")).to_string_lossy().into_owned()
}

/// Prints the command, runs it with its output passed through, and fails where it fails.
///
/// # Errors
/// The program cannot be started, or exits with another code than 0.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    println!("$ {}", line(command));
    let status =
        command.status().with_context(|| format!("cannot start `{}`", program(command)))?;
    if !status.success() {
        bail!("`{}` failed ({status})", line(command));
    }
    Ok(())
}

/// Runs a command and gives its standard output; standard error is passed through.
///
/// # Errors
/// The program cannot be started, exits with another code than 0, or prints what is not UTF-8.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start `{}`", program(command)))?;
    if !output.status.success() {
        bail!("`{}` failed ({})", line(command), output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("output of `{}`", line(command)))
}

/// Prints the command, runs it with its output passed through, and gives its standard output and exit
/// status, whatever that is; -1 where a signal ended it.
///
/// # Errors
/// The program cannot be started.
pub(crate) fn watch(command: &mut Command) -> Result<(String, i32)> {
    println!("$ {}", line(command));
    let what = format!("cannot start `{}`", program(command));
    let mut child = command.stdout(Stdio::piped()).spawn().context(what)?;
    let mut text = String::new();
    let output = child.stdout.take().map(BufReader::new);
    for line in output.into_iter().flat_map(BufRead::lines) {
        let line = line.context("output of a program")?;
        println!("{line}");
        text.push_str(&line);
        text.push('\n');
    }
    Ok((text, child.wait()?.code().unwrap_or(-1)))
}

/// Whether a command runs and exits with code 0; its output is dropped.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// `cargo`, the one that runs this program.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}
