//! What is written down: violations, calls, and a summary.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::fault::Fault;
use crate::folder::{SUMMARY_FILE, SummaryOfRun, TRACE_FILE, VIOLATIONS_FILE};
use crate::sys::code;

/// The journal of one opened library.
pub(crate) struct Journal {
    folder: Option<PathBuf>,
    is_traced: bool,
    summary: Mutex<SummaryOfRun>,
}

impl Journal {
    /// Writes into `folder`; without one, to the standard error stream.
    pub(crate) fn new(folder: Option<PathBuf>, is_traced: bool) -> Journal {
        Journal { folder, is_traced, summary: Mutex::default() }
    }

    /// Counts; see [`SummaryOfRun`].
    pub(crate) fn count(&self) -> MutexGuard<'_, SummaryOfRun> {
        self.summary.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down what a device would not forgive, and gives the fault of the call.
    pub(crate) fn violation(&self, text: impl Into<String>) -> Fault {
        let text = text.into();
        self.count().violations += 1;
        if !self.append(VIOLATIONS_FILE, &text) {
            // Whoever gave no folder still sees it.
            drop(writeln!(std::io::stderr(), "violation: {text}"));
        }
        self.trace(|| format!("violation: {text}"));
        Fault::new(code::CUDA, format!("violation: {text}"))
    }

    /// Writes a line of the trace, where one is asked for.
    pub(crate) fn trace(&self, line: impl FnOnce() -> String) {
        if self.is_traced {
            self.append(TRACE_FILE, &line());
        }
    }

    /// Writes the summary.
    pub(crate) fn write_summary(&self) {
        let Some(folder) = &self.folder else { return };
        let text = serde_json::to_string_pretty(&*self.count()).unwrap_or_default();
        drop(std::fs::write(folder.join(SUMMARY_FILE), text));
    }

    /// Whether the line could be written.
    fn append(&self, file: &str, line: &str) -> bool {
        let Some(folder) = &self.folder else { return false };
        let file = File::options().create(true).append(true).open(folder.join(file));
        file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes())).is_ok()
    }
}
