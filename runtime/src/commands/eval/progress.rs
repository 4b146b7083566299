//! How far it is: a bar on a terminal, a line now and then elsewhere.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::commands::console;

/// Time between two lines.
const INTERVAL: Duration = Duration::from_secs(10);

/// Progress of a known number of questions, on standard error.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    total: usize,
    done: usize,
    said: Instant,
}

impl Progress {
    pub(super) fn new(total: usize) -> Self {
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {per_sec} {eta}");
        let bar = io::stderr().is_terminal().then(|| ProgressBar::new(total as u64));
        let bar = bar.map(|bar| match style {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        });
        Progress { bar, total, done: 0, said: Instant::now() }
    }

    /// One more is done.
    pub(super) fn advance(&mut self) {
        self.done += 1;
        match &self.bar {
            Some(bar) => bar.inc(1),
            None if self.said.elapsed() >= INTERVAL => {
                self.said = Instant::now();
                console::note(&format!("{} of {} questions", self.done, self.total));
            }
            None => {}
        }
    }

    /// Takes the bar away.
    pub(super) fn finish(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
