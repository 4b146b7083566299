//! How far a benchmark is, on standard error: a bar on a terminal, lines elsewhere.

use std::io::IsTerminal;

use cumo_runtime::bench::BenchProgress;
use indicatif::{ProgressBar, ProgressStyle};

use super::super::console;

/// The bar of what is being measured.
pub(super) struct Bars {
    terminal: bool,
    bar: Option<ProgressBar>,
}

impl Bars {
    pub(super) fn new() -> Self {
        Bars { terminal: std::io::stderr().is_terminal(), bar: None }
    }

    /// Takes the bar away.
    pub(super) fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl BenchProgress for Bars {
    fn begin(&mut self, what: &str, steps: usize) {
        self.finish();
        if !self.terminal {
            console::note(&format!("measuring: {what}"));
            return;
        }
        let bar = ProgressBar::new(steps as u64);
        if let Ok(style) = ProgressStyle::with_template("{msg:12} {bar:30} {pos}/{len} {elapsed}") {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        bar.tick();
        self.bar = Some(bar);
    }

    fn step(&mut self) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.finish();
    }
}
