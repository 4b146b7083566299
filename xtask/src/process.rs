//! Child processes: run with their output passed through, or read.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::time_limit;

/// The exit status that [`watch`] gives for a program that was stopped since its time was up.
pub(crate) const TIME_IS_UP: i32 = -2;

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
    let mut child =
        command.spawn().with_context(|| format!("cannot start `{}`", program(command)))?;
    match wait(&mut child)? {
        Some(status) if status.success() => Ok(()),
        Some(status) => bail!("`{}` failed ({status})", line(command)),
        None => bail!("`{}` was stopped: {}", line(command), time_limit::OVER),
    }
}

/// Waits for a program; none where it was stopped since its time was up.
fn wait(child: &mut Child) -> Result<Option<ExitStatus>> {
    let Some(end) = time_limit::end_of_program() else { return Ok(Some(child.wait()?)) };
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            stop(child)?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// How long a program may take to end once it is interrupted.
const GRACE: Duration = Duration::from_secs(5);

/// Interrupts a program as Ctrl-C would, so that it ends its own: `cumo bench` has new processes,
/// which hold the device. Kills it where it goes on.
fn stop(child: &mut Child) -> Result<()> {
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    let end = Instant::now() + GRACE;
    while interrupted.as_ref().is_ok_and(ExitStatus::success) && Instant::now() < end {
        if child.try_wait()?.is_some() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(10));
    }
    child.kill()?;
    child.wait()?;
    Ok(())
}

/// What a program printed, and how it ended.
pub(crate) struct Output {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    /// None where it was stopped since its time was up.
    pub(crate) status: Option<ExitStatus>,
}

/// Runs a command without an output of its own.
///
/// # Errors
/// The program cannot be started.
pub(crate) fn capture(command: &mut Command) -> Result<Output> {
    let what = format!("cannot start `{}`", program(command));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context(what)?;
    let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let status = wait(&mut child)?;
    Ok(Output { stdout: all(&stdout, status), stderr: all(&stderr, status), status })
}

/// Reads a pipe in a thread of its own, so that the program never waits for it.
fn drain(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut pipe = pipe;
        let mut piece = vec![0; 1 << 16];
        while let Some(count) = pipe.as_mut().and_then(|pipe| pipe.read(&mut piece).ok()) {
            let Some(read) = piece.get(..count).filter(|read| !read.is_empty()) else { break };
            if sender.send(read.to_vec()).is_err() {
                break;
            }
        }
    });
    receiver
}

/// All that was read. Of a program that was stopped what is there: one that it started may hold the
/// pipe open.
fn all(pieces: &Receiver<Vec<u8>>, status: Option<ExitStatus>) -> Vec<u8> {
    match status {
        Some(_) => pieces.iter().flatten().collect(),
        None => pieces.try_iter().flatten().collect(),
    }
}

/// Runs a command and gives its standard output; standard error is passed through.
///
/// # Errors
/// The program cannot be started, exits with another code than 0, or prints what is not UTF-8.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let what = format!("cannot start `{}`", program(command));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = command.spawn().context(what)?;
    let stdout = drain(child.stdout.take());
    let status = wait(&mut child)?;
    match status {
        Some(status) if status.success() => {}
        Some(status) => bail!("`{}` failed ({status})", line(command)),
        None => bail!("`{}` was stopped: {}", line(command), time_limit::OVER),
    }
    let stdout = all(&stdout, status);
    String::from_utf8(stdout).with_context(|| format!("output of `{}`", line(command)))
}

/// Prints the command, runs it with its output passed through, and gives its standard output and exit
/// status, whatever that is; -1 where a signal ended it, [`TIME_IS_UP`] where it was stopped.
///
/// # Errors
/// The program cannot be started.
pub(crate) fn watch(command: &mut Command) -> Result<(String, i32)> {
    println!("$ {}", line(command));
    let what = format!("cannot start `{}`", program(command));
    let mut child = command.stdout(Stdio::piped()).spawn().context(what)?;
    let (sender, lines) = channel();
    let output = child.stdout.take().map(BufReader::new);
    thread::spawn(move || {
        for line in output.into_iter().flat_map(BufRead::lines).map_while(Result::ok) {
            println!("{line}");
            if sender.send(line + "\n").is_err() {
                break;
            }
        }
    });
    let status = wait(&mut child)?;
    let (text, code) = match status {
        Some(status) => (lines.iter().collect(), status.code().unwrap_or(-1)),
        None => (lines.try_iter().collect(), TIME_IS_UP),
    };
    Ok((text, code))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        shell
    }

    #[test]
    fn output_and_status_are_those_of_the_program() {
        let output = capture(&mut shell("echo out; echo err >&2; exit 3")).unwrap();
        assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"out\n"[..], &b"err\n"[..]));
        assert_eq!(output.status.and_then(|status| status.code()), Some(3));
        assert_eq!(watch(&mut shell("echo a; echo b; exit 4")).unwrap(), ("a\nb\n".into(), 4));
        assert_eq!(watch(&mut shell("kill -9 $$")).unwrap().1, -1);
        let much = capture(&mut shell("head -c 300000 /dev/zero")).unwrap();
        assert_eq!(much.stdout.len(), 300_000);
        assert!(run(&mut shell("exit 5")).unwrap_err().to_string().contains("failed"));
    }

    #[test]
    fn a_program_is_stopped_when_its_time_is_up_and_its_output_kept() {
        let _limit = time_limit::for_this_thread(Duration::from_millis(300));
        // The one that it started lives on, and holds the pipe.
        let script = "echo before; sleep 5 & wait";
        let begun = Instant::now();
        assert_eq!(watch(&mut shell(script)).unwrap(), ("before\n".to_owned(), TIME_IS_UP));
        let output = capture(&mut shell(script)).unwrap();
        assert_eq!((&output.stdout[..], output.status), (&b"before\n"[..], None));
        for error in [run(&mut shell("exec sleep 5")), read(&mut shell("exec sleep 5")).map(drop)] {
            let error = error.unwrap_err().to_string();
            assert_eq!(error, "`sh -c exec sleep 5` was stopped: its time was up");
        }
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    }

    #[test]
    fn a_program_whose_time_is_up_is_interrupted_first_and_may_end_its_own() {
        let _limit = time_limit::for_this_thread(Duration::from_millis(300));
        let script = "trap 'echo ended; exit 0' INT; sleep 5 & wait";
        assert_eq!(watch(&mut shell(script)).unwrap(), ("ended\n".to_owned(), TIME_IS_UP));
    }
}
