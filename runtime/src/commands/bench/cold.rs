//! Starts of new processes: this program again, which opens the model and answers once.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
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
    let bytes = folder_bytes(&args.work.model.model);
    for number in 0..args.cold_starts {
        let asked = number == 0 && drop_cached(&args.work.model.model);
        let program = std::env::current_exe().context("finding this program")?;
        let mut command = Command::new(program);
        command.args(arguments(&args.work, images));
        let (mut start, read) = start(&mut command, cancel)?;
        // Whether the kernel did as it was asked shows in what the process had to read.
        let dropped = asked && read.is_some_and(|read| read >= bytes / 2);
        start.page_cache_dropped = (!asked || read.is_some()).then_some(dropped);
        if number == 0 {
            result.notes.push(page_cache(asked, dropped, read));
        }
        result.cold_starts.push(start);
        bars.step();
    }
    result.notes.extend(kernels(&result.cold_starts));
    Ok(())
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

fn page_cache(asked: bool, dropped: bool, read: Option<u64>) -> String {
    let megabytes = read.map(|read| read as f64 * 1e-6);
    match (asked, dropped, megabytes) {
        (true, true, Some(read)) => format!(
            "the first new process read {read:.1} MB from storage, as the bundle's files were dropped from the page cache before it, but not this program and its libraries; the others found them there"
        ),
        (true, false, Some(read)) => format!(
            "new processes found the bundle in the page cache: the kernel was asked to drop it, and the first process read {read:.1} MB from storage"
        ),
        (true, ..) => "whether the first new process found the bundle in the page cache is not known: the kernel was asked to drop it, and does not tell what was read".to_owned(),
        (false, ..) => "new processes may have found the bundle in the page cache: it was not dropped".to_owned(),
    }
}

/// One process; with its time, the bytes that it read from storage, where the system tells.
fn start(command: &mut Command, cancel: &CancelToken) -> Result<(ColdStart, Option<u64>)> {
    let begin = Instant::now();
    let mut process = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting this program anew")?;
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
    console::print_line(READY)?;
    let images = args.image.clone();
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
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{BenchCommand, Cli, Command as Typed};

    fn parsed(arguments: impl IntoIterator<Item = OsString>) -> Typed {
        let all = std::iter::once("cumo".into()).chain(arguments);
        Cli::try_parse_from(all).unwrap().command
    }

    #[test]
    fn a_new_process_is_told_all_that_this_one_was() {
        let typed = [
            "bench",
            "-m",
            "engines",
            "--device",
            "1",
            "--weights-in-place",
            "--no-kernel-cache",
            "--threads",
            "1",
            "--image",
            "a.png",
            "--image",
            "b.png",
            "-p",
            "7",
            "-n",
            "9",
            "--seed",
            "4",
        ];
        for typed in [&typed[..], &["bench", "-m", "engines", "--no-image"]] {
            let Typed::Bench(bench) = parsed(typed.iter().map(OsString::from)) else { panic!() };
            let work = bench.measure.0.unwrap().work;
            let Typed::Bench(told) = parsed(arguments(&work, &work.image)) else { panic!() };
            let Some(BenchCommand::FirstAnswer(told)) = told.command else { panic!() };
            assert_eq!(format!("{told:?}"), format!("{work:?}"));
        }
    }

    #[test]
    fn what_starts_compiled_is_told_where_it_is_known() {
        let start = |kernels_found| ColdStart { kernels_found, ..ColdStart::default() };
        assert_eq!(kernels(&[start(None)]), None);
        let starts = [Some(false), Some(true), Some(true)].map(start);
        let note = kernels(&starts).unwrap();
        assert!(note.contains("1 compiled the device's kernels and 2 found"), "{note}");
    }

    #[cfg(unix)]
    #[test]
    fn a_process_that_complains_at_length_is_read_to_its_end() {
        let script = "echo ready; head -c 300000 /dev/zero | tr '\\0' x >&2; echo answered; echo 5";
        let (sender, done) = mpsc::channel();
        thread::spawn(move || {
            let mut shell = Command::new("sh");
            let started = start(shell.args(["-c", script]), &CancelToken::new());
            sender.send(started.map_err(|error| error.to_string())).unwrap();
        });
        let (start, read) = done.recv_timeout(Duration::from_secs(20)).unwrap().unwrap();
        assert!(start.ready_ns > 0 && start.first_answer_ns.is_some(), "{start:?}");
        assert_eq!((start.first_token_ns, read), (None, Some(5)));
        let mut shell = Command::new("sh");
        let error =
            super::start(shell.args(["-c", "echo no model >&2; exit 3"]), &CancelToken::new());
        let error = error.unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.ends_with("no model"), "{error}");
    }
}
