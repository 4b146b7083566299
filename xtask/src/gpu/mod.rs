//! `cargo xtask gpu`: all that needs a GPU, in one table. Not yet seen on a GPU.

mod build;
mod built;
mod card;
mod crates;
mod effort;
mod engines;
mod found;
mod golden_tokens;
mod kernels;
mod measurement;
mod pack;
mod parts;
mod programs;
mod real_sizes;
mod rehearsal;
mod router_margin;
mod sample_answers;
mod table;
mod weights_ways;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;
use crate::{native, onnxruntime, process, test, time_limit};
use built::Built;
pub(crate) use card::parse_capability;
use effort::{Clock, Effort};
use found::Found;
pub(crate) use parts::Part;
use programs::{Programs, slug};
pub(crate) use rehearsal::check as rehearse;
use table::{Outcome, Table};

/// The exit status of a run that found no GPU.
const NO_DEVICE: u8 = 77;

/// No program takes longer than this, but one that hangs.
const LONGEST: Duration = Duration::from_mins(60);

/// What to run.
#[derive(Debug, PartialEq)]
pub(crate) enum Request {
    /// Parts on the machine's GPU.
    Device(OnDevice),
    /// Builds for devices of these compute capabilities, or all, and packs what a machine without a
    /// network, compilers and cargo needs.
    Pack { file: PathBuf, devices: Option<Vec<u32>> },
    /// The steps that drive the programs, on the stand-in.
    StandIn,
}

/// What to run on a GPU.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct OnDevice {
    /// These parts; none are named: all, or those of a quick run.
    pub(crate) parts: Vec<Part>,
    /// As much as ten minutes allow.
    pub(crate) is_quick: bool,
    /// How long all parts may take together.
    pub(crate) minutes: Option<f64>,
    /// The file for the table; by default one of the card's name beside the results.
    pub(crate) output: Option<PathBuf>,
    /// The folder for results; by default `benches/results`.
    pub(crate) results: Option<PathBuf>,
    /// Nothing is built: all is there.
    pub(crate) is_built: bool,
}

/// How long the parts of a quick run may take where nothing else is said; programs and kernels are
/// built before.
const QUICK_MINUTES: f64 = 8.0;

impl OnDevice {
    fn parts(&self) -> Vec<Part> {
        // In the order in which they run.
        let asked = |part: &Part| match (self.parts.is_empty(), self.is_quick) {
            (true, true) => Part::QUICK.contains(part),
            (true, false) => true,
            (false, _) => self.parts.contains(part),
        };
        Part::ALL.into_iter().filter(asked).collect()
    }

    fn minutes(&self) -> Option<f64> {
        self.minutes.or(self.is_quick.then_some(QUICK_MINUTES))
    }

    fn effort(&self) -> Effort {
        if self.is_quick { Effort::Quick } else { Effort::Full }
    }
}

/// Runs what was asked for.
///
/// # Errors
/// On a device: results have no folder. To pack, or on the stand-in: a step fails.
pub(crate) fn run(workspace: &Workspace, request: &Request) -> Result<ExitCode> {
    match request {
        Request::Device(run) => on_device(workspace, run),
        Request::Pack { file, devices } => {
            pack::pack(workspace, file, devices.as_deref())?;
            Ok(ExitCode::SUCCESS)
        }
        Request::StandIn => {
            let library = onnxruntime::ensure(workspace)?;
            rehearse(workspace, &test::build_programs(workspace)?, &library)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Builds everything for the machine's GPU unless it is built, runs kernels, engines and programs on
/// it, and prints a table, which is written row by row.
///
/// # Errors
/// Results have no folder, or programs that were to be there are not.
fn on_device(workspace: &Workspace, run: &OnDevice) -> Result<ExitCode> {
    let _hung = time_limit::for_this_thread(LONGEST);
    let cards = card::cards();
    let names: Vec<_> = cards.iter().map(|card| card.text.as_str()).collect();
    let name = match cards.as_slice() {
        [] if card::may_be_there() => "one that nvidia-smi does not know".to_owned(),
        [] => "none here: things are built, nothing runs on a device".to_owned(),
        _ => names.join("; "),
    };
    println!("NVIDIA GPU: {name}");
    let mut table = Table::default();
    table.head.push(format!("NVIDIA GPU: {name}"));
    table.head.push(format!("commit: {}", commit(workspace)));
    // Before the work, not after it.
    let results = run.results.clone().unwrap_or_else(|| workspace.root.join("benches/results"));
    fs::create_dir_all(&results).with_context(|| results.display().to_string())?;
    if let Some(file) = &run.output {
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        table.keep_in(file.clone());
    }
    let built = Built::of(workspace);
    if !run.is_built {
        build::for_cards(workspace, &cards, &mut table);
    } else if !built.missing().is_empty() {
        let missing = built.missing();
        let missing: Vec<_> = missing.iter().map(|file| workspace.show(file)).collect();
        bail!("not built, or not brought along: {}", missing.join(", "));
    }

    let found = Found::of(&built, &cards);
    table.head.extend(found.line.iter().map(|line| format!("device: {line}")));
    if let Some(why) = &found.denied {
        let figure = format!("nvidia-smi names one that our programs do not get: {why}");
        table.add("device", Outcome::Failed, &figure);
    }
    let card = found.card.as_ref().filter(|_| found.is_there);
    if let (None, Some(card)) = (&run.output, card) {
        table.keep_in(results.join(format!("{}-gpu.md", slug(&card.name))));
    }
    let programs =
        Programs::on_device(workspace, &built, found.for_programs(), run.effort(), results);
    fs::create_dir_all(&programs.work).with_context(|| programs.work.display().to_string())?;
    parts(workspace, run, &Tools { built, found: &found, programs }, &mut table)?;

    println!("\n{}", table.text());
    if let Some(file) = &table.file {
        println!("written to {}", workspace.show(file));
    }
    let (status, conclusion) = conclusion(&table, found.is_there);
    println!("{conclusion} (exit status {status})");
    Ok(ExitCode::from(status))
}

/// What parts run with.
struct Tools<'a> {
    built: Built,
    found: &'a Found,
    programs: Programs,
}

/// Runs the parts, as far as there is time. One that fails is a row, and the next one runs.
fn parts(
    workspace: &Workspace,
    run: &OnDevice,
    tools: &Tools<'_>,
    table: &mut Table,
) -> Result<()> {
    let (parts, effort) = (run.parts(), run.effort());
    println!("\n{}", effort::announcement(&parts, effort));
    let clock = Clock::of_minutes(run.minutes());
    let _end = clock.until.map(time_limit::until);
    // The bench measures the engines of the answers.
    let mut sample = None;
    for part in parts {
        if let Err(why) = clock.room_for(effort.seconds(part)) {
            table.add(part.name(), Outcome::Skipped, &why);
            continue;
        }
        match part {
            Part::Kernels => kernels::run(workspace, &tools.built, table),
            Part::Answers => {
                golden_tokens::check(workspace, &tools.programs, &test::goldens(workspace)?, table);
                sample = sample_answers::check(workspace, &tools.programs, table);
            }
            Part::Mixture => {
                engines::mixture(workspace, &tools.built, tools.found.tensor_tflops, table)?;
            }
            Part::Bench => {
                let engines = match sample.take() {
                    Some(engines) => Ok(engines),
                    None => sample_answers::build(workspace, &tools.programs),
                };
                let image = workspace.root.join("samples/shapes/images/000.png");
                measurement::of_sample(&tools.programs, engines, &image, table);
                real_sizes::two_layers(workspace, &tools.programs, table);
            }
            Part::Engines => engines::goldens(workspace, &tools.built, table)?,
            Part::Whole => real_sizes::whole(workspace, &tools.programs, table),
        }
    }
    Ok(())
}

/// The exit status, and what it means this time.
fn conclusion(table: &Table, has_device: bool) -> (u8, &'static str) {
    let kernels_ran =
        table.rows.iter().any(|row| row.name == kernels::CASES && row.outcome == Outcome::Held);
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
        (true, true, false) if kernels_ran => {
            (0, "the kernels held, and NO ENGINE RAN on the device: the skipped rows say why")
        }
        (true, true, false) => (0, "NOTHING RAN on the device: the skipped rows say why"),
    }
}

/// The checkout's commit, and whether files differ from it; of what was packed, the one that it was
/// packed from.
fn commit(workspace: &Workspace) -> String {
    let packed = workspace.target.join(Workspace::GPU_PROGRAMS).join(pack::COMMIT);
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).current_dir(&workspace.root).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    if !workspace.root.join(".git").exists() {
        let text = fs::read_to_string(packed);
        return text.map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned());
    }
    match (git(&["rev-parse", "--short=12", "HEAD"]), git(&["status", "--porcelain"])) {
        (Some(commit), Some(changes)) if changes.is_empty() => commit,
        (Some(commit), _) => format!("{commit}, changed"),
        (None, _) => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use table::Row;

    #[test]
    fn parts_run_in_their_order_and_a_quick_run_has_a_limit() {
        let run = OnDevice { parts: vec![Part::Whole, Part::Kernels], ..OnDevice::default() };
        assert_eq!(run.parts(), [Part::Kernels, Part::Whole]);
        assert_eq!((run.minutes(), run.effort()), (None, Effort::Full));
        let quick = OnDevice { is_quick: true, ..OnDevice::default() };
        assert_eq!(quick.parts(), Part::QUICK);
        assert_eq!((quick.minutes(), quick.effort()), (Some(QUICK_MINUTES), Effort::Quick));
        let longer = OnDevice { minutes: Some(20.0), ..quick };
        assert_eq!(longer.minutes(), Some(20.0));
        assert_eq!(OnDevice::default().parts(), Part::ALL);
    }

    #[test]
    fn the_exit_status_says_what_ran() {
        let table = |rows: Vec<Row>| Table { rows, ..Table::default() };
        let kernels = Row::new("cases of the kernels", Outcome::Held, "");
        let engine = |outcome| Row { is_engine: true, ..Row::new("engine", outcome, "") };
        let status = |rows: Vec<Row>, device| conclusion(&table(rows), device);
        assert_eq!(status(vec![kernels.clone(), engine(Outcome::Held)], true).0, 0);
        let (none, text) = status(vec![kernels.clone(), engine(Outcome::Skipped)], true);
        assert!(none == 0 && text.contains("NO ENGINE RAN"), "{text}");
        let (none, text) = status(vec![kernels.clone(), engine(Outcome::NotRun)], true);
        assert!(none == 0 && text.contains("NO ENGINE RAN"), "{text}");
        let (none, text) = status(vec![engine(Outcome::Skipped)], true);
        assert!(none == 0 && text.starts_with("NOTHING RAN"), "{text}");
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
