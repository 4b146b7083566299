//! The progress of building engines, on standard error: a bar on a terminal, a line an engine
//! elsewhere.

use cumo_export::Progress;
use cumo_export::engine::EngineProgress;
use cumo_tensorrt::Progress as Phase;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Mutex;

use crate::{signals, size};

/// The bar's steps an engine; TensorRT's phases are spread over them.
const STEPS: u64 = 100;

/// Shows a build's progress.
pub(crate) struct EngineBar {
    state: Mutex<State>,
}

struct State {
    bar: Option<ProgressBar>,
    /// Where the engine begins on the bar.
    begin: u64,
    /// TensorRT's outermost phase: its name, how many steps it has.
    outermost: Option<(String, usize)>,
}

impl EngineBar {
    /// A bar on a terminal, lines elsewhere. From now on Ctrl-C and SIGTERM stop the build.
    pub(crate) fn new() -> anyhow::Result<EngineBar> {
        signals::watch_interrupts()?;
        let bar = std::io::stderr().is_terminal().then(ProgressBar::no_length);
        Ok(EngineBar { state: Mutex::new(State { bar, begin: 0, outermost: None }) })
    }

    fn line(&self, text: &str) {
        if let Ok(state) = self.state.lock() {
            match &state.bar {
                Some(bar) => bar.println(text),
                None => eprintln!("{text}"),
            }
        }
    }
}

impl Progress for EngineBar {
    fn begin(&self, part: &str, bytes: u64) {
        self.line(&format!("exporting {part}: {}", size::bytes(bytes)));
    }

    fn advance(&self, _bytes: u64) {}

    fn interrupted(&self) -> bool {
        signals::interrupted()
    }
}

impl EngineProgress for EngineBar {
    fn engine(&self, engine: &str, index: usize, count: usize) {
        let Ok(mut state) = self.state.lock() else { return };
        state.begin = index as u64 * STEPS;
        state.outermost = None;
        if let Some(bar) = &state.bar {
            if let Ok(style) = ProgressStyle::with_template("{bar:32} {elapsed} {wide_msg}") {
                bar.set_style(style);
            }
            bar.set_length(count as u64 * STEPS);
            bar.set_position(state.begin);
            bar.set_message(format!("engine {} of {count}: {engine}", index + 1));
        }
    }

    fn phase(&self, phase: Phase<'_>) {
        let Ok(mut state) = self.state.lock() else { return };
        match phase {
            Phase::Start { phase, parent: "", steps } => {
                state.outermost = Some((phase.to_owned(), steps.max(1)));
            }
            Phase::Step { phase, step } => {
                if let (Some(bar), Some((name, steps))) = (&state.bar, &state.outermost)
                    && name == phase
                {
                    let done = STEPS * (step as u64 + 1) / *steps as u64;
                    bar.set_position(state.begin + done.min(STEPS));
                }
            }
            _ => {}
        }
    }

    fn end(&self, engine: &str, bytes: usize, seconds: f64, reused: bool) {
        let bytes = size::bytes(bytes as u64);
        let text = match reused {
            true => format!("{engine}: {bytes}, built before of the same inputs"),
            false => format!("{engine}: {bytes} in {seconds:.2} s"),
        };
        self.line(&text);
    }
}

impl Drop for EngineBar {
    fn drop(&mut self) {
        if let Ok(State { bar: Some(bar), .. }) = self.state.get_mut() {
            bar.finish_and_clear();
        }
    }
}
