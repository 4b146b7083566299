//! Runs a program that may hang.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// The most output that is kept.
const MAX_BYTES: u64 = 1 << 16;

/// What a program writes to its standard output within `limit`, of which it has 64 KiB at most. None
/// where there is no such program, or it is not done then; it is ended.
pub(super) fn output(program: &Path, argument: &str, limit: Duration) -> Option<String> {
    if !program.is_file() {
        return None;
    }
    let mut command = Command::new(program);
    command.arg(argument).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let stdout = child.stdout.take()?;
    let (sender, receiver) = mpsc::channel();
    // The reader may wait for a grandchild that has the pipe too, so nobody waits for the reader.
    let reader = thread::Builder::new().spawn(move || {
        let mut bytes = Vec::new();
        let read = stdout.take(MAX_BYTES).read_to_end(&mut bytes);
        let _ = sender.send(read.map(|_| bytes));
    });
    let bytes = reader.ok().and_then(|_| receiver.recv_timeout(limit).ok());
    // An error says that it has ended by itself.
    let _ = child.kill();
    let _ = child.wait();
    Some(String::from_utf8_lossy(&bytes?.ok()?).into_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::testing::Board;
    use super::*;

    #[test]
    fn gives_what_a_program_writes() {
        let board = Board::new().program("/bin/mode", "echo \"mode $1\"");
        let text = output(&board.root().path("/bin/mode"), "-q", Duration::from_secs(20));
        assert_eq!(text.as_deref(), Some("mode -q\n"));
        assert_eq!(output(Path::new("/nowhere/mode"), "-q", Duration::from_secs(20)), None);
    }

    #[test]
    fn ends_a_program_that_hangs() {
        let board = Board::new().program("/bin/mode", "echo half; exec sleep 60");
        let start = Instant::now();
        let text = output(&board.root().path("/bin/mode"), "-q", Duration::from_millis(50));
        assert_eq!(text, None);
        assert!(start.elapsed() < Duration::from_secs(30));
    }
}
