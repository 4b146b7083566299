//! Progress on standard error: a bar on a terminal, a line a part elsewhere.

use std::io::IsTerminal;
use std::sync::Mutex;

use cumo_export::Progress;
use indicatif::{ProgressBar, ProgressStyle};

use crate::{signals, size};

/// Shows an export's progress.
pub(crate) struct Display {
    bar: Option<Mutex<ProgressBar>>,
}

impl Display {
    /// A display for this terminal or pipe. From now on Ctrl-C and SIGTERM stop the export, which
    /// then removes what it has written.
    pub(crate) fn new() -> anyhow::Result<Display> {
        signals::watch_interrupts()?;
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
        signals::interrupted()
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        if let Some(Ok(bar)) = self.bar.as_ref().map(Mutex::lock) {
            bar.abandon();
        }
    }
}
