//! Writing to the terminal: results to standard output, everything else to standard error.

use std::io::{self, Write};

use anyhow::Result;
use cumo_runtime::{CancelToken, Event};
use serde::Serialize;

/// Prints a value as JSON over several lines.
pub(crate) fn print_json(value: &impl Serialize) -> Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(out.flush()?)
}

/// Prints a line to standard output.
pub(crate) fn print_line(line: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// Tells people something. A closed standard error is no reason to stop.
pub(crate) fn note(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Prints an error with all that led to it on one line.
pub(crate) fn error(error: &anyhow::Error) {
    note(&format!("error: {}", on_one_line(error)));
}

/// An error and its causes. Some errors have their cause's words among their own; those are not
/// said twice.
fn on_one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !line.contains(&cause) {
            if !line.is_empty() {
                line += ": ";
            }
            line += &cause;
        }
    }
    line
}

/// Streams an answer to standard output: its text, or its tokens where there is no tokenizer.
pub(crate) struct AnswerPrinter<'a> {
    has_text: bool,
    cancel: &'a CancelToken,
    tokens: usize,
    failure: Option<io::Error>,
}

impl<'a> AnswerPrinter<'a> {
    /// A printer that ends the answer through `cancel` where nobody can read it.
    pub(crate) fn new(has_text: bool, cancel: &'a CancelToken) -> Self {
        AnswerPrinter { has_text, cancel, tokens: 0, failure: None }
    }

    pub(crate) fn event(&mut self, event: Event<'_>) {
        let result = match event {
            Event::Text(text) => self.write(text),
            Event::Token(token) if !self.has_text => {
                let comma = if self.tokens == 0 { "" } else { "," };
                self.tokens += 1;
                self.write(&format!("{comma}{token}"))
            }
            Event::Token(_) => Ok(()),
        };
        if let Err(error) = result {
            self.cancel.cancel();
            self.failure.get_or_insert(error);
        }
    }

    /// Ends the line.
    pub(crate) fn finish(self) -> Result<()> {
        match self.failure {
            Some(error) => Err(error.into()),
            None => print_line(""),
        }
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn what_causes_say_is_not_said_twice() {
        let error = anyhow!("no space").context("a.jsonl: no space").context("saving");
        assert_eq!(on_one_line(&error), "saving: a.jsonl: no space");
    }
}
