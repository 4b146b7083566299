//! Progress on standard error: a bar on a terminal, a line a part elsewhere.

use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use cumo_export::Progress;
use indicatif::{ProgressBar, ProgressStyle};

use crate::size;

/// Set when the user asks the export, or the build of engines, to stop.
static INTERRUPTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// From now on Ctrl-C, SIGTERM and a terminal that goes away only make [`interrupted`] say so.
#[cfg(unix)]
pub(crate) fn watch_interrupts() -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    [SIGHUP, SIGINT, SIGTERM]
        .into_iter()
        .try_for_each(|signal| signal_hook::flag::register(signal, INTERRUPTED.clone()).map(drop))
}

/// The system's own way of ending a program is left as it is.
#[cfg(not(unix))]
pub(crate) fn watch_interrupts() -> io::Result<()> {
    Ok(())
}

/// From now on a file over the limit of `ulimit -f` is an error of the write, whose file is then
/// removed, and not the end of the program.
#[cfg(unix)]
pub(crate) fn survive_size_limits() -> io::Result<()> {
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default()).map(drop)
}

/// There are no such limits.
#[cfg(not(unix))]
pub(crate) fn survive_size_limits() -> io::Result<()> {
    Ok(())
}

/// Whether the user asked to stop.
pub(crate) fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Shows an export's progress.
pub(crate) struct Display {
    bar: Option<Mutex<ProgressBar>>,
}

impl Display {
    /// A display for this terminal or pipe. From now on Ctrl-C and SIGTERM stop the export, which
    /// then removes what it has written.
    pub(crate) fn new() -> anyhow::Result<Display> {
        watch_interrupts()?;
        let terminal = std::io::stderr().is_terminal();
        Ok(Display { bar: terminal.then(|| Mutex::new(ProgressBar::hidden())) })
    }
}

impl Progress for Display {
    fn begin(&self, part: &str, bytes: u64) {
        let Some(bar) = &self.bar else {
            eprintln!("writing {part}: {}", size::bytes(bytes));
            return;
        };
        let style = ProgressStyle::with_template(
            "{prefix:>9} {bar:32} {bytes:>10} of {total_bytes} {bytes_per_sec} {eta}",
        );
        let next = ProgressBar::new(bytes).with_prefix(part.to_owned());
        let next = style.map(|style| next.clone().with_style(style)).unwrap_or(next);
        if let Ok(mut bar) = bar.lock() {
            bar.finish();
            *bar = next;
        }
    }

    fn advance(&self, bytes: u64) {
        if let Some(Ok(bar)) = self.bar.as_ref().map(Mutex::lock) {
            bar.inc(bytes);
        }
    }

    fn interrupted(&self) -> bool {
        interrupted()
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        if let Some(Ok(bar)) = self.bar.as_ref().map(Mutex::lock) {
            bar.abandon();
        }
    }
}
