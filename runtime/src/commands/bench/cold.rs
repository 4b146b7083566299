//! Starts of new processes: this program again, which opens the model and answers once.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use cumo_results::BenchResult;
use cumo_results::schema::ColdStart;
use cumo_runtime::backend::BackendError;
use cumo_runtime::bench::{Bench, BenchProgress};
use cumo_runtime::{CancelToken, Error, Event, GenerateOptions, Model, SamplingOptions};

use super::super::console;
use super::progress::Bars;
use crate::cli::{MeasureArgs, WorkArgs};

/// What a new process says, a line each, as soon as it is so.
const READY: &str = "ready";
const FIRST_TOKEN: &str = "first token";
const ANSWERED: &str = "answered";
const KERNELS_FOUND: &str = "kernels found";
const KERNELS_COMPILED: &str = "kernels compiled";

/// How often a process that is waited for is looked at.
const PATIENCE: Duration = Duration::from_millis(20);

/// Starts processes one after the other and puts their times into `result`.
pub(super) fn starts(
    args: &MeasureArgs,
    images: &[PathBuf],
    cancel: &CancelToken,
    bars: &mut Bars,
    result: &mut BenchResult,
) -> Result<()> {
    if args.cold_starts == 0 {
        return Ok(());
    }
    bars.begin("cold start", args.cold_starts);
    let folder = &args.work.model.model;
    let program = std::env::current_exe().context("finding this program")?;
    let start = || {
        let mut command = Command::new(&program);
        command.args(arguments(&args.work, images));
        start(|| piped(&mut command).spawn(), cancel)
    };
    let started = alternating(
        args.cold_starts,
        folder_bytes(folder),
        || drop_cached(folder),
        || {
            let started = start();
            bars.step();
            started
        },
    )?;
    result.notes.push(page_cache(&started));
    result.cold_starts.extend(started.iter().map(|started| started.times));
    result.notes.extend(kernels(&result.cold_starts));
    Ok(())
}

/// A process that has answered.
#[derive(Debug, Clone, Copy)]
struct Started {
    times: ColdStart,
    /// Whether the system was asked to drop the bundle's files before.
    asked: bool,
    /// The bytes that the process read from storage, where the system tells.
    read: Option<u64>,
}

/// So many processes; before every other one, the first among them, the files of `bytes` are
/// dropped from the page cache, into which that process then reads them for the next one.
fn alternating(
    count: usize,
    bytes: u64,
    mut drop_cached: impl FnMut() -> bool,
    mut start: impl FnMut() -> Result<(ColdStart, Option<u64>)>,
) -> Result<Vec<Started>> {
    let one = |number: usize| {
        let asked = number.is_multiple_of(2) && drop_cached();
        let (mut times, read) = start()?;
        // Whether the kernel did as it was asked shows in what the process had to read.
        let dropped = asked && read.is_some_and(|read| read >= bytes / 2);
        times.page_cache_dropped = (!asked || read.is_some()).then_some(dropped);
        Ok(Started { times, asked, read })
    };
    (0..count).map(one).collect()
}

/// What starts had to compile, where that is known.
fn kernels(starts: &[ColdStart]) -> Option<String> {
    let count = |found| starts.iter().filter(|start| start.kernels_found == Some(found)).count();
    match (count(false), count(true)) {
        (0, 0) => None,
        (compiled, found) => Some(format!(
            "of the new processes {compiled} compiled the device's kernels and {found} found those that an earlier one kept"
        )),
    }
}

fn page_cache(started: &[Started]) -> String {
    let asked: Vec<&Started> = started.iter().filter(|started| started.asked).collect();
    let dropped = asked.iter().filter(|started| started.times.page_cache_dropped == Some(true));
    let (asked, dropped, all) = (asked.len(), dropped.count(), started.len());
    let read = started.iter().filter(|started| started.asked).filter_map(|started| started.read);
    let megabytes = read.max().map(|read| read as f64 * 1e-6);
    match (asked, dropped, megabytes) {
        (0, ..) => "new processes may have found the bundle in the page cache: it was not dropped".to_owned(),
        (_, _, None) => "whether new processes found the bundle in the page cache is not known: the kernel was asked to drop it, and does not tell what was read".to_owned(),
        (_, 0, Some(read)) => format!(
            "new processes found the bundle in the page cache: the kernel was asked to drop it before {asked} of {all}, and none of them read more than {read:.1} MB from storage"
        ),
        (_, _, Some(read)) => format!(
            "{dropped} of {all} new processes read up to {read:.1} MB from storage, as the bundle's files were dropped from the page cache before them, but not this program and its libraries; the others found them there"
        ),
    }
}

/// Nothing to read, and what it says kept.
fn piped(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped())
}

/// One process; with its time from before it is made, the bytes that it read from storage, where
/// the system tells.
fn start(
    spawn: impl FnOnce() -> io::Result<Child>,
    cancel: &CancelToken,
) -> Result<(ColdStart, Option<u64>)> {
    let begin = Instant::now();
    let mut process = spawn().context("starting this program anew")?;
    let lines = listen(&mut process)?;
    let complaint = complaint(&mut process)?;
    let mut said = Said::default();
    loop {
        match lines.recv_timeout(PATIENCE) {
            Ok((line, time)) => said.line(&line, time),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) if cancel.is_cancelled() => {
                // It may have ended by itself; then there is nothing to kill.
                let _ = process.kill();
                process.wait().context("waiting for the new process")?;
                return Err(Error::Backend(BackendError::Interrupted).into());
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
    let status = process.wait().context("waiting for the new process")?;
    if cancel.is_cancelled() {
        return Err(Error::Backend(BackendError::Interrupted).into());
    }
    let (Some(ready), true) = (said.ready, status.success()) else {
        let complaint = complaint.join().unwrap_or_default();
        bail!("a new process did not answer ({status}): {}", complaint.trim());
    };
    let since = |from: Instant, to: Instant| {
        u64::try_from(to.saturating_duration_since(from).as_nanos()).unwrap_or(u64::MAX)
    };
    let start = ColdStart {
        ready_ns: since(begin, ready),
        first_token_ns: said.first_token.map(|time| since(ready, time)),
        first_answer_ns: said.answered.map(|time| since(ready, time)),
        page_cache_dropped: None,
        kernels_found: said.kernels_found,
    };
    Ok((start, said.read_bytes))
}

fn arguments(work: &WorkArgs, images: &[PathBuf]) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["bench".into(), "first-answer".into()];
    let mut option = |name: &str, value: OsString| arguments.extend([name.into(), value]);
    option("--model", work.model.model.clone().into());
    option("--device", work.model.device.to_string().into());
    if let Some(threads) = work.model.threads {
        option("--threads", threads.to_string().into());
    }
    for image in images {
        option("--image", image.into());
    }
    option("--prompt-tokens", work.prompt_tokens.to_string().into());
    option("--gen", work.generate_tokens.to_string().into());
    option("--seed", work.seed.to_string().into());
    if work.model.weights_in_place {
        arguments.push("--weights-in-place".into());
    }
    if work.model.no_kernel_cache {
        arguments.push("--no-kernel-cache".into());
    }
    if images.is_empty() {
        arguments.push("--no-image".into());
    }
    arguments
}

/// Lines of the process' output, each with the time at which it came.
fn listen(process: &mut Child) -> Result<Receiver<(String, Instant)>> {
    let output = process.stdout.take().context("the new process has no output")?;
    let (sender, lines) = mpsc::channel();
    thread::Builder::new()
        .name("new process".to_owned())
        .spawn(move || {
            for line in BufReader::new(output.take(1 << 16)).lines().map_while(Result::ok) {
                if sender.send((line, Instant::now())).is_err() {
                    return;
                }
            }
        })
        .context("listening to the new process")?;
    Ok(lines)
}

/// Reads what the process complains about, as long as it does, so that it never waits for a reader;
/// keeps the first 64 KiB.
fn complaint(process: &mut Child) -> Result<JoinHandle<String>> {
    let mut stderr = process.stderr.take().context("the new process has no standard error")?;
    thread::Builder::new()
        .name("complaints".to_owned())
        .spawn(move || {
            let mut text = Vec::new();
            // What cannot be read any more is not waited for either.
            let _ = stderr.by_ref().take(1 << 16).read_to_end(&mut text);
            let _ = std::io::copy(&mut stderr, &mut std::io::sink());
            String::from_utf8_lossy(&text).into_owned()
        })
        .context("listening to the new process")
}

/// What a new process has said.
#[derive(Default)]
struct Said {
    ready: Option<Instant>,
    first_token: Option<Instant>,
    answered: Option<Instant>,
    kernels_found: Option<bool>,
    read_bytes: Option<u64>,
}

impl Said {
    fn line(&mut self, line: &str, time: Instant) {
        match line {
            READY => self.ready = Some(time),
            FIRST_TOKEN => self.first_token = Some(time),
            ANSWERED => self.answered = Some(time),
            KERNELS_FOUND => self.kernels_found = Some(true),
            KERNELS_COMPILED => self.kernels_found = Some(false),
            bytes => self.read_bytes = bytes.parse().ok(),
        }
    }
}

/// The new process: opens the model, answers, and says when.
pub(super) fn first_answer(args: &WorkArgs) -> Result<ExitCode> {
    let mut model = Model::open(&args.model.model, &args.model.options())?;
    let images = args.image.clone();
    if !images.is_empty() {
        model.load_vision()?;
    }
    // Weights may be on their way to a device.
    model.executor().finish()?;
    console::print_line(READY)?;
    let cancel = CancelToken::new();
    let options = GenerateOptions {
        max_new_tokens: args.generate_tokens.max(1),
        sampling: SamplingOptions::greedy(),
        stop: Vec::new(),
        ignore_eos: true,
    };
    let work = args.options(images.clone());
    let question = Bench::new(&mut model, &work, &cancel, &mut ()).question();
    let (embeds, _) = model.encode_images(&images, &cancel)?;
    let mut told = Ok(());
    let mut is_first = true;
    model.generate(&question, &embeds, &options, &cancel, &mut |event| {
        if is_first && let Event::Token(_) = event {
            is_first = false;
            told = console::print_line(FIRST_TOKEN);
        }
    })?;
    told?;
    console::print_line(ANSWERED)?;
    let device = model.executor().backend().device;
    if let Some(kernels) = device.and_then(|device| device.kernels) {
        let is_found = kernels.found_bytes.is_some();
        console::print_line(if is_found { KERNELS_FOUND } else { KERNELS_COMPILED })?;
    }
    // Nobody waits any more, and the next process begins when this one has ended.
    model.keep_compiled();
    if let Some(bytes) = read_from_storage() {
        console::print_line(&bytes.to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Bytes that this process had the system read from storage.
fn read_from_storage() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/io").ok()?;
    text.lines().find_map(|line| line.strip_prefix("read_bytes:"))?.trim().parse().ok()
}

fn folder_bytes(folder: &Path) -> u64 {
    files(folder).iter().filter_map(|file| Some(file.metadata().ok()?.len())).sum()
}

/// Asks the system to drop a folder's files from the page cache; says whether all were asked for.
#[cfg(target_os = "linux")]
fn drop_cached(folder: &Path) -> bool {
    use rustix::fs::{Advice, fadvise};
    let files = files(folder);
    let dropped = |file: &PathBuf| {
        let file = std::fs::File::open(file)?;
        // Pages that were never written to the disk cannot be dropped.
        file.sync_all()?;
        fadvise(&file, 0, None, Advice::DontNeed).map_err(std::io::Error::from)
    };
    !files.is_empty() && files.iter().all(|file| dropped(file).is_ok())
}

#[cfg(not(target_os = "linux"))]
fn drop_cached(_: &Path) -> bool {
    false
}

/// The regular files of a folder, those behind links too.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect()
}

#[cfg(test)]
mod tests;
