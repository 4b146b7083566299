//! `cargo xtask gpu`: all that needs a GPU, in one table. Not yet seen on a GPU.

mod card;
mod crates;
mod engines;
mod kernels;
mod table;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::workspace::Workspace;
use crate::{native, process};
use card::Card;
use table::{Outcome, Table};

/// The exit status of a run that found no GPU.
const NO_DEVICE: u8 = 77;

/// Builds everything for the machine's GPU, runs kernels and engines on it, and prints a table.
///
/// Needs no network where `setup --tensorrt` was run before, or CUDA and TensorRT are installed;
/// what cannot be had is a skipped line with the reason.
///
/// # Errors
/// The table cannot be written.
pub(crate) fn run(workspace: &Workspace, output: Option<&Path>) -> Result<ExitCode> {
    let card = card::card();
    let name = match &card {
        Some(card) => &card.text,
        None if card::may_be_there() => "one that nvidia-smi does not know",
        None => "none here: things are built, nothing runs on a device",
    };
    println!("NVIDIA GPU: {name}");
    // Before the work, not after it.
    if let Some(folder) = output.and_then(Path::parent) {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    let mut table = Table::default();
    let mut head = vec![format!("NVIDIA GPU: {name}"), format!("commit: {}", commit(workspace))];
    crates::ensure(workspace, &mut table);
    packages(workspace, &mut table);
    let device = kernels(workspace, card.as_ref(), &mut table, &mut head);
    programs(workspace, &mut table);
    engines::goldens(workspace, &mut table)?;
    engines::mixture(workspace, device.tensor_tflops, &mut table)?;

    let head: String = head.iter().map(|line| format!("- {line}\n")).collect();
    let text = format!("# cargo xtask gpu\n\n{head}\n{}", table.markdown());
    println!("\n{text}");
    if let Some(file) = output {
        fs::write(file, &text).with_context(|| format!("cannot write {}", file.display()))?;
        println!("written to {}", file.display());
    }
    let (status, conclusion) = conclusion(&table, device.is_there);
    println!("{conclusion} (exit status {status})");
    Ok(ExitCode::from(status))
}

/// The exit status, and what it means this time.
fn conclusion(table: &Table, has_device: bool) -> (u8, &'static str) {
    let engine_ran = table.rows.iter().any(|row| row.is_engine && row.outcome == Outcome::Held);
    match (table.holds(), has_device, engine_ran) {
        (false, _, _) => (1, "not all held: see the rows that say FAILED"),
        (true, false, _) => (NO_DEVICE, "no device: things were built, and nothing was run on one"),
        (true, true, true) => (0, "all held that ran"),
        (true, true, false) => {
            (0, "the kernels held, and NO ENGINE RAN on the device: the skipped rows say why")
        }
    }
}

/// The checkout's commit, and whether files differ from it.
fn commit(workspace: &Workspace) -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).current_dir(&workspace.root).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    match (git(&["rev-parse", "--short=12", "HEAD"]), git(&["status", "--porcelain"])) {
        (Some(commit), Some(changes)) if changes.is_empty() => commit,
        (Some(commit), _) => format!("{commit}, changed"),
        (None, _) => "unknown".to_owned(),
    }
}

/// Runs a step that builds something; its time or its error is a row.
fn step(table: &mut Table, name: &str, work: impl FnOnce() -> Result<()>) -> bool {
    println!("== {name}");
    let start = Instant::now();
    match work() {
        Ok(()) => {
            let figure = format!("{:.0} s", start.elapsed().as_secs_f64());
            table.add(name, Outcome::Held, &figure);
            true
        }
        Err(error) => {
            table.add(name, Outcome::Failed, &format!("{error:#}"));
            false
        }
    }
}

/// NVIDIA's packages that are not here are fetched; without a network, what is installed has to do.
fn packages(workspace: &Workspace, table: &mut Table) {
    println!("== packages");
    if let Err(error) = native::setup(workspace) {
        let prepare = crates::PREPARE;
        let figure = format!("not all are here, and not to be fetched: {error:#}; {prepare}");
        table.add("packages", Outcome::Skipped, &figure);
    }
}

/// What is known of the device once something ran on it.
struct Device {
    is_there: bool,
    /// The rate of its tensor cores in f16, in 10^12 operations a second.
    tensor_tflops: Option<f64>,
}

/// Builds `native/` for the GPU and runs `device_test`.
fn kernels(
    workspace: &Workspace,
    card: Option<&Card>,
    table: &mut Table,
    head: &mut Vec<String>,
) -> Device {
    let name = "native/: kernels, plugin, shim";
    let unknown = Device { is_there: card.is_some(), tensor_tflops: None };
    let folder = native::gpu_folder(workspace);
    let built = step(table, name, || {
        let known = native::known_code(workspace)?;
        let known: Vec<_> = known.iter().map(String::as_str).collect();
        let code = match card {
            Some(card) => card::code_for(card.architecture, &known).map(|code| vec![code]),
            None if card::may_be_there() => None,
            // For none: that it compiles is all that can be seen.
            None => Some(vec![80]),
        };
        native::build_for_gpu(workspace, code)
    });
    let device_test = folder.join("kernels/device_test");
    if !built {
        let figure = "native/ was not built";
        table.add("cases of the kernels", Outcome::Skipped, figure);
        return unknown;
    }
    let cases = workspace.root.join("native/emulation/cases.txt");
    match process::watch(Command::new(&device_test).arg(cases)) {
        Ok((text, status)) => {
            table.rows.extend(kernels::rows(&text, status));
            let line = text.lines().find(|line| line.contains("compute capability"));
            head.extend(line.map(|line| format!("device: {line}")));
            let tensor_tflops = kernels::tensor_tflops(&text);
            Device { is_there: status != kernels::NO_DEVICE, tensor_tflops }
        }
        Err(error) => {
            table.add("cases of the kernels", Outcome::Failed, &format!("{error:#}"));
            unknown
        }
    }
}

fn programs(workspace: &Workspace, table: &mut Table) {
    step(table, "cumo-export and cumo", || {
        let mut cargo = process::cargo();
        cargo.args(["build", "--locked", "--offline", "--bins"]);
        cargo.args(["--package", "cumo-export", "--package", "cumo-runtime"]);
        process::run(cargo.current_dir(&workspace.root))
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use table::Row;

    #[test]
    fn the_exit_status_says_what_ran() {
        let table = |rows: Vec<Row>| Table { rows };
        let kernels = Row::new("cases of the kernels", Outcome::Held, "");
        let engine = |outcome| Row { is_engine: true, ..Row::new("engine", outcome, "") };
        let status = |rows: Vec<Row>, device| conclusion(&table(rows), device);
        assert_eq!(status(vec![kernels.clone(), engine(Outcome::Held)], true).0, 0);
        let (none, text) = status(vec![kernels.clone(), engine(Outcome::Skipped)], true);
        assert!(none == 0 && text.contains("NO ENGINE RAN"), "{text}");
        let (none, text) = status(vec![kernels.clone(), engine(Outcome::NotRun)], true);
        assert!(none == 0 && text.contains("NO ENGINE RAN"), "{text}");
        assert_eq!(status(vec![engine(Outcome::NotRun)], false).0, 77);
        assert_eq!(status(vec![kernels, engine(Outcome::Failed)], true).0, 1);
        assert_eq!(status(vec![engine(Outcome::Failed)], false).0, 1);
    }
}
