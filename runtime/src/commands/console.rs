//! Writing to the terminal: results to standard output, everything else to standard error.

use std::io::{self, Write};

use anyhow::Result;
use cumo_runtime::{Answer, CancelToken, Event, FinishReason, GenerateOptions};
use serde::Serialize;

/// The longest word of a message, in characters: paths of files are shorter.
const MAX_WORD: usize = 400;

/// Characters before what is left out of a longer one.
const WORD_START: usize = 200;

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
    let _ = writeln!(io::stderr(), "{}", presentable(line));
}

/// Whether whoever read the output has closed it.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    })
}

/// Text that may hold names from outside: very long words are shortened in the middle, and
/// characters that terminals obey are spelled out.
pub(crate) fn presentable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for word in text.split_inclusive(char::is_whitespace) {
        let cut = word.chars().count().saturating_sub(MAX_WORD);
        for (index, character) in word.chars().enumerate() {
            if cut > 0 && index == WORD_START {
                shown.push('\u{2026}');
            }
            if (WORD_START..WORD_START + cut).contains(&index) {
                continue;
            }
            shown.push(character);
        }
    }
    cumo_results::presentable(&shown)
}

/// Whether the context ended an answer before `--max-new-tokens` did.
pub(crate) fn is_context_full(answer: &Answer, options: &GenerateOptions) -> bool {
    answer.finish_reason == FinishReason::Length && answer.max_new_tokens < options.max_new_tokens
}

/// Says so where the context ended an answer before `--max-new-tokens` did.
pub(crate) fn note_context_full(answer: &Answer, options: &GenerateOptions) {
    if is_context_full(answer, options) {
        note(&format!(
            "note: the answer ended after {} tokens, where the model's context is full (--max-new-tokens is {})",
            answer.max_new_tokens, options.max_new_tokens
        ));
    }
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
    fn long_words_are_shortened_and_control_characters_spelled_out() {
        assert_eq!(presentable("a.onnx: fine\n\tmore"), "a.onnx: fine\n\tmore");
        assert_eq!(presentable("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        let shown = presentable(&format!("x: {}.png not found", "\u{e9}".repeat(5_000)));
        assert!(shown.starts_with("x: \u{e9}") && shown.ends_with(".png not found"), "{shown}");
        assert!(shown.contains("\u{e9}\u{2026}\u{e9}"), "{shown}");
        assert_eq!(shown.chars().count(), MAX_WORD + 1 + "x: not found".chars().count());
    }

    #[test]
    fn what_causes_say_is_not_said_twice() {
        let error = anyhow!("no space").context("a.jsonl: no space").context("saving");
        assert_eq!(on_one_line(&error), "saving: a.jsonl: no space");
    }
}
