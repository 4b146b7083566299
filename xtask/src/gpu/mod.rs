//! `cargo xtask gpu`: all that needs a GPU, in one table. Not yet seen on a GPU.

mod card;
mod kernels;
mod table;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::workspace::Workspace;
use crate::{native, onnxruntime, process};
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
    packages(workspace, &mut table);
    let has_device = kernels(workspace, card.as_ref(), &mut table, &mut head);
    programs(workspace, &mut table);
    engines(workspace, &mut table)?;

    let head: String = head.iter().map(|line| format!("- {line}\n")).collect();
    let text = format!("# cargo xtask gpu\n\n{head}\n{}", table.markdown());
    println!("\n{text}");
    if let Some(file) = output {
        fs::write(file, &text).with_context(|| format!("cannot write {}", file.display()))?;
        println!("written to {}", file.display());
    }
    Ok(match (table.holds(), has_device) {
        (false, _) => ExitCode::FAILURE,
        (true, true) => ExitCode::SUCCESS,
        (true, false) => {
            println!("no device: nothing was run on one (exit status {NO_DEVICE})");
            ExitCode::from(NO_DEVICE)
        }
    })
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

/// Packages that are not here are fetched; without a network, what is installed has to do.
fn packages(workspace: &Workspace, table: &mut Table) {
    println!("== packages");
    if let Err(error) = native::setup(workspace) {
        let figure = format!("not all are here, and they could not be fetched: {error:#}");
        table.add("packages", Outcome::Skipped, &figure);
    }
}

/// Builds `native/` for the GPU and runs `device_test`; whether there is a device.
fn kernels(
    workspace: &Workspace,
    card: Option<&Card>,
    table: &mut Table,
    head: &mut Vec<String>,
) -> bool {
    let name = "native/: kernels, plugin, shim";
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
        return card.is_some();
    }
    let cases = workspace.root.join("native/emulation/cases.txt");
    match process::watch(Command::new(&device_test).arg(cases)) {
        Ok((text, status)) => {
            table.rows.extend(kernels::rows(&text, status));
            let line = text.lines().find(|line| line.contains("compute capability"));
            head.extend(line.map(|line| format!("device: {line}")));
            status != kernels::NO_DEVICE
        }
        Err(error) => {
            table.add("cases of the kernels", Outcome::Failed, &format!("{error:#}"));
            card.is_some()
        }
    }
}

fn programs(workspace: &Workspace, table: &mut Table) {
    step(table, "cumo-export and cumo", || {
        let mut cargo = process::cargo();
        cargo.args(["build", "--locked", "--package", "cumo-export", "--package", "cumo-runtime"]);
        process::run(cargo.arg("--bins").current_dir(&workspace.root))
    });
}

/// Runs the goldens' engines against ONNX Runtime: the test `device`, which gives a row an engine.
fn engines(workspace: &Workspace, table: &mut Table) -> Result<()> {
    println!("== engines of the goldens");
    let library = match onnxruntime::ensure(workspace) {
        Ok(library) => library,
        Err(error) => {
            let figure = format!("there is nothing to compare with: {error:#}");
            table.add("engines of the goldens", Outcome::Skipped, &figure);
            return Ok(());
        }
    };
    let rows = tempfile::NamedTempFile::new()?;
    let mut cargo = process::cargo();
    cargo.args(["test", "--locked", "--package", "cumo-tests", "--test", "device"]);
    cargo.current_dir(&workspace.root).env("CUMO_GPU_ROWS", rows.path());
    cargo.env(onnxruntime::DYLIB_PATH, &library);
    let shim = native::gpu_folder(workspace).join("shim");
    if shim.is_dir() {
        cargo.env("CUMO_TRT_SHIM", shim);
    }
    let result = process::run(&mut cargo);
    let written = fs::read_to_string(rows.path())?;
    for line in written.lines() {
        let mut fields = line.splitn(3, '|');
        let [name, result, figure] = [(); 3].map(|()| fields.next().unwrap_or_default());
        let outcome = match result {
            "held" => Outcome::Held,
            "skipped" | "not run" => Outcome::Skipped,
            _ => Outcome::Failed,
        };
        table.add(name, outcome, figure);
    }
    match result {
        Ok(()) => table.add("engines of the goldens", held_or_skipped(table), "as above"),
        Err(error) => table.add("engines of the goldens", Outcome::Failed, &format!("{error:#}")),
    }
    Ok(())
}

/// Held, where a row of an engine is.
fn held_or_skipped(table: &Table) -> Outcome {
    let engine = |row: &&table::Row| row.figure.contains(" calls, error ");
    match table.rows.iter().filter(engine).any(|row| row.outcome == Outcome::Held) {
        true => Outcome::Held,
        false => Outcome::Skipped,
    }
}
