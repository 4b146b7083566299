//! The text of an answer as its tokens come.

use cumo_processor::{StreamDecoder, Tokenizer};

use crate::stop::StopStrings;

/// Tokens in, certain text out.
pub(crate) struct AnswerText<'a> {
    decoder: StreamDecoder<'a>,
    stops: StopStrings,
    text: String,
}

impl<'a> AnswerText<'a> {
    pub(crate) fn new(tokenizer: &'a Tokenizer, stops: &[String]) -> Self {
        AnswerText {
            decoder: tokenizer.stream(),
            stops: StopStrings::new(stops.iter().cloned()),
            text: String::new(),
        }
    }

    /// Adds a token, passes on the text that is certain with it, and says whether a stop string is
    /// complete. Models may have more tokens than their tokenizer; those have no text.
    pub(crate) fn push(&mut self, token: u32, on_text: &mut dyn FnMut(&str)) -> bool {
        let piece = self.decoder.push(token).unwrap_or_default();
        if piece.is_empty() {
            return false;
        }
        let passed = self.stops.push(&piece);
        pass(&mut self.text, &passed.text, on_text);
        passed.stopped
    }

    /// Passes on what was held back, unless a stop string ended the answer, and gives all of the
    /// text.
    pub(crate) fn finish(self, stopped: bool, on_text: &mut dyn FnMut(&str)) -> String {
        let AnswerText { decoder, mut stops, mut text } = self;
        if !stopped {
            let passed = stops.push(&decoder.finish());
            let held = if passed.stopped { String::new() } else { stops.finish() };
            for rest in [passed.text, held] {
                pass(&mut text, &rest, on_text);
            }
        }
        text
    }
}

fn pass(all: &mut String, text: &str, on_text: &mut dyn FnMut(&str)) {
    if !text.is_empty() {
        all.push_str(text);
        on_text(text);
    }
}
