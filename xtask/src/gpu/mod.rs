//! `cargo xtask gpu`: all that needs a GPU, in one table. Not yet seen on a GPU.

mod card;
mod crates;
mod engines;
mod golden_tokens;
mod kernels;
mod measurement;
mod parts;
mod programs;
mod real_sizes;
mod rehearsal;
mod router_margin;
mod sample_answers;
mod table;
mod weights_ways;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::workspace::Workspace;
use crate::{native, onnxruntime, process, test};
use card::Card;
pub(crate) use parts::Part;
use programs::Programs;
pub(crate) use rehearsal::check as rehearse;
use table::{Outcome, Table};

/// The exit status of a run that found no GPU.
const NO_DEVICE: u8 = 77;

/// What to run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// These parts, on the machine's GPU; and the file for the table.
    Device { parts: Vec<Part>, output: Option<PathBuf> },
    /// The steps that drive the programs, on the stand-in.
    StandIn,
}

/// Runs what was asked for.
///
/// # Errors
/// On a device: the table cannot be written. On the stand-in: a step fails.
pub(crate) fn run(workspace: &Workspace, request: &Request) -> Result<ExitCode> {
    match request {
        Request::Device { parts, output } => on_device(workspace, parts, output.as_deref()),
        Request::StandIn => {
            let library = onnxruntime::ensure(workspace)?;
            rehearse(workspace, &test::build_programs(workspace)?, &library)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Builds everything for the machine's GPU, runs kernels, engines and programs on it, and prints a
/// table.
///
/// Needs no network where `setup --tensorrt` was run before, or CUDA and TensorRT are installed;
/// what cannot be had is a skipped line with the reason.
///
/// # Errors
/// The table cannot be written.
fn on_device(workspace: &Workspace, parts: &[Part], output: Option<&Path>) -> Result<ExitCode> {
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
    let has = |part| parts.contains(&part);
    let runs = has(Part::Kernels);
    let device = kernels(workspace, (card.as_ref(), runs), &mut table, &mut head);
    if has(Part::Engines) {
        engines::goldens(workspace, &mut table)?;
    }
    if has(Part::Mixture) {
        engines::mixture(workspace, device.tensor_tflops, &mut table)?;
    }
    if [Part::Answers, Part::Bench, Part::Whole].into_iter().any(has)
        && programs(workspace, &mut table)
    {
        drive(workspace, parts, device.for_programs(card.as_ref()), &mut table)?;
    }

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
    let engine = |outcome| move |row: &table::Row| row.is_engine && row.outcome == outcome;
    let engine_ran = table.rows.iter().any(engine(Outcome::Held));
    let has_tie = table.rows.iter().any(engine(Outcome::Tie));
    match (table.holds(), has_device, engine_ran) {
        (false, _, _) => (1, "not all held: see the rows that say FAILED"),
        (true, false, _) => (NO_DEVICE, "no device: things were built, and nothing was run on one"),
        (true, true, true) if has_tie => {
            (0, "all held that ran, but for rows where experts are as good as equal: see TIE")
        }
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
    /// The rate of its memory, in GB/s.
    memory_gbs: Option<f64>,
}

impl Device {
    /// The device as the programs' steps need it; none where there is none, or only one that nothing
    /// is known of.
    fn for_programs(&self, card: Option<&Card>) -> Option<programs::Device> {
        let card = card.filter(|_| self.is_there)?;
        let is_integrated = card::is_integrated();
        let host = || card::host_memory_gb().filter(|_| is_integrated);
        Some(programs::Device {
            name: card.name.clone(),
            architecture: card.architecture,
            memory_gb: card.memory_gb.or_else(host),
            rates: self.memory_gbs.zip(self.tensor_tflops),
            is_integrated,
            is_stand_in: false,
        })
    }
}

/// Builds `native/` for the GPU and, where `runs`, runs `device_test`.
fn kernels(
    workspace: &Workspace,
    (card, runs): (Option<&Card>, bool),
    table: &mut Table,
    head: &mut Vec<String>,
) -> Device {
    let name = "native/: kernels, plugin, shim";
    let unknown = Device { is_there: card.is_some(), tensor_tflops: None, memory_gbs: None };
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
    if !runs {
        return unknown;
    }
    let cases = workspace.root.join("native/emulation/cases.txt");
    match process::watch(Command::new(&device_test).arg(cases)) {
        Ok((text, status)) => {
            table.rows.extend(kernels::rows(&text, status));
            let line = text.lines().find(|line| line.contains("compute capability"));
            head.extend(line.map(|line| format!("device: {line}")));
            let tensor_tflops = kernels::tensor_tflops(&text);
            let memory_gbs = kernels::memory_gbs(&text);
            Device { is_there: status != kernels::NO_DEVICE, tensor_tflops, memory_gbs }
        }
        Err(error) => {
            table.add("cases of the kernels", Outcome::Failed, &format!("{error:#}"));
            unknown
        }
    }
}

/// Runs the steps that drive the programs.
fn drive(
    workspace: &Workspace,
    parts: &[Part],
    device: Option<programs::Device>,
    table: &mut Table,
) -> Result<()> {
    let programs = Programs::on_device(workspace, device);
    fs::create_dir_all(&programs.work).with_context(|| programs.work.display().to_string())?;
    let has = |part| parts.contains(&part);
    let mut sample = None;
    if has(Part::Answers) {
        golden_tokens::check(workspace, &programs, &test::goldens(workspace)?, table);
        sample = sample_answers::check(workspace, &programs, None, table);
    }
    if has(Part::Bench) {
        let engines = match sample {
            Some(engines) => Ok(engines),
            None => sample_answers::build(workspace, &programs),
        };
        let image = workspace.root.join("samples/shapes/images/000.png");
        measurement::of_sample(&programs, engines, &image, table);
        real_sizes::two_layers(workspace, &programs, table);
    }
    if has(Part::Whole) {
        real_sizes::whole(workspace, &programs, table);
    }
    Ok(())
}

/// Builds the programs as they are shipped.
fn programs(workspace: &Workspace, table: &mut Table) -> bool {
    step(table, "cumo-export and cumo", || {
        let mut cargo = process::cargo();
        cargo.args(["build", "--locked", "--offline", "--release", "--bins"]);
        cargo.args(["--package", "cumo-export", "--package", "cumo-runtime"]);
        process::run(cargo.current_dir(&workspace.root))
    })
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
        let tie = vec![engine(Outcome::Held), engine(Outcome::Tie)];
        let (none, text) = status(tie, true);
        assert!(none == 0 && text.contains("TIE"), "{text}");
        let (none, text) = status(vec![kernels.clone(), engine(Outcome::Tie)], true);
        assert!(none == 0 && text.contains("NO ENGINE RAN"), "{text}");
        assert_eq!(status(vec![engine(Outcome::NotRun)], false).0, 77);
        assert_eq!(status(vec![kernels, engine(Outcome::Failed)], true).0, 1);
        assert_eq!(status(vec![engine(Outcome::Failed)], false).0, 1);
    }
}
