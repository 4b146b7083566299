//! The text of an answer as its tokens come, without white space around it.

use cumo_processor::{StreamDecoder, Tokenizer};

use crate::stop::StopStrings;

/// Tokens in, certain text out.
pub(crate) struct AnswerText<'a> {
    /// Taken at the end.
    decoder: Option<StreamDecoder<'a>>,
    stops: StopStrings,
    text: String,
    /// White space that ends the answer unless more text comes.
    space: String,
}

impl<'a> AnswerText<'a> {
    pub(crate) fn new(tokenizer: &'a Tokenizer, stops: &[String]) -> Self {
        AnswerText {
            decoder: Some(tokenizer.stream()),
            stops: StopStrings::new(stops.iter().cloned()),
            text: String::new(),
            space: String::new(),
        }
    }

    /// Adds a token, passes on the text that is certain with it, and says whether a stop string is
    /// complete. Models may have more tokens than their tokenizer; those have no text.
    pub(crate) fn push(&mut self, token: u32, on_text: &mut dyn FnMut(&str)) -> bool {
        let decoded = self.decoder.as_mut().and_then(|decoder| decoder.push(token).ok());
        let piece = decoded.unwrap_or_default();
        if piece.is_empty() {
            return false;
        }
        let passed = self.stops.push(&piece);
        self.pass(&passed.text, on_text);
        passed.stopped
    }

    /// Passes on what was held back, unless a stop string ended the answer, and gives all of the
    /// text.
    pub(crate) fn finish(mut self, stopped: bool, on_text: &mut dyn FnMut(&str)) -> String {
        if !stopped {
            let rest = self.decoder.take().map(StreamDecoder::finish).unwrap_or_default();
            let passed = self.stops.push(&rest);
            let held = if passed.stopped { String::new() } else { self.stops.finish() };
            for rest in [passed.text, held] {
                self.pass(&rest, on_text);
            }
        }
        self.text
    }

    /// Passes on text and the white space before it, but not that which begins the answer.
    fn pass(&mut self, text: &str, on_text: &mut dyn FnMut(&str)) {
        let end = text.trim_end_matches(is_space).len();
        let (text, space) = text.split_at(end);
        if !text.is_empty() {
            let text = std::mem::take(&mut self.space) + text;
            let text = match self.text.is_empty() {
                true => text.trim_start_matches(is_space),
                false => text.as_str(),
            };
            self.text.push_str(text);
            on_text(text);
        }
        self.space.push_str(space);
    }
}

/// What Python's `str.strip` takes away, as the original does with answers.
fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn tokenizer() -> Tokenizer {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/goldens/tokenizer.model");
        Tokenizer::open(&path).unwrap()
    }

    /// Pieces of text as they are passed on, and all of it.
    fn passed(text: &str, stops: &[&str]) -> (Vec<String>, String) {
        let tokenizer = tokenizer();
        let stops: Vec<String> = stops.iter().map(ToString::to_string).collect();
        let mut answer = AnswerText::new(&tokenizer, &stops);
        let mut pieces = Vec::new();
        // Bytes have pieces of their own in this vocabulary, from the third on.
        let stopped = text.bytes().any(|byte| {
            answer.push(3 + u32::from(byte), &mut |piece| pieces.push(piece.to_owned()))
        });
        let all = answer.finish(stopped, &mut |piece| pieces.push(piece.to_owned()));
        (pieces, all)
    }

    #[test]
    fn white_space_around_an_answer_is_never_passed_on() {
        for text in ["two words", " two words", "\n\ttwo words \n", "\u{1f}two words\u{85}\u{1c}"] {
            let (pieces, all) = passed(text, &[]);
            assert_eq!((pieces.concat().as_str(), all.as_str()), ("two words", "two words"));
            assert!(pieces.iter().all(|piece| !piece.is_empty()));
        }
        assert_eq!(passed(" \n ", &[]), (vec![], String::new()));
    }

    #[test]
    fn white_space_before_a_stop_string_is_not_passed_on() {
        let (pieces, all) = passed("one  two\nend", &["two"]);
        assert_eq!((pieces.concat().as_str(), all.as_str()), ("one", "one"));
    }
}
