//! Text from ids that come one by one.

use super::sentencepiece::Decoder;
use super::{Tokenizer, Vocabulary};
use crate::error::Result;

/// Turns ids into text as they come: never half a character, and all that [`push`](Self::push) and
/// [`finish`](Self::finish) give is together what [`Tokenizer::decode`] gives for all ids.
///
/// With a `tokenizer.json` the latter holds as long as the ids' bytes are UTF-8: the decoders that
/// such a file can ask for may change text that is already out.
#[derive(Debug)]
pub struct StreamDecoder<'a> {
    tokenizer: &'a Tokenizer,
    sentencepiece: Decoder,
    window: Window,
}

/// With a `tokenizer.json`, the text of an id is what it adds to the text of the ids before it.
#[derive(Debug, Default)]
struct Window {
    /// Ids whose text is not all out, after those that they are decoded with.
    ids: Vec<u32>,
    /// How many of them only give context.
    context: usize,
    /// Bytes of text that the context alone has.
    emitted: usize,
}

impl<'a> StreamDecoder<'a> {
    pub(super) fn new(tokenizer: &'a Tokenizer) -> Self {
        let (sentencepiece, window) = Default::default();
        StreamDecoder { tokenizer, sentencepiece, window }
    }

    /// Adds an id and gives the text that is complete with it, which may be none.
    ///
    /// # Errors
    /// Where the id is outside the vocabulary; the stream can go on.
    pub fn push(&mut self, id: u32) -> Result<String> {
        let mut text = String::new();
        match &self.tokenizer.0 {
            Vocabulary::SentencePiece(model) => self.sentencepiece.push(model, id, &mut text)?,
            Vocabulary::HuggingFace(model) => {
                model.check(id)?;
                self.window.ids.push(id);
                let all = model.decode(&self.window.ids)?;
                if !all.ends_with(char::REPLACEMENT_CHARACTER) {
                    text = self.window.advance(&all, |ids| model.decode(ids))?;
                }
            }
        }
        Ok(text)
    }

    /// Ends the stream and gives what is left: U+FFFD for each byte of an incomplete character.
    pub fn finish(mut self) -> String {
        let mut text = String::new();
        match &self.tokenizer.0 {
            Vocabulary::SentencePiece(_) => self.sentencepiece.finish(&mut text),
            Vocabulary::HuggingFace(model) => {
                let all = model.decode(&self.window.ids).unwrap_or_default();
                text.push_str(all.get(self.window.emitted..).unwrap_or_default());
            }
        }
        text
    }
}

impl Window {
    /// What is new in `all`, the text of the window. Afterwards the ids that were new are context.
    fn advance(&mut self, all: &str, decode: impl Fn(&[u32]) -> Result<String>) -> Result<String> {
        let Some(new) = all.get(self.emitted..).filter(|new| !new.is_empty()) else {
            return Ok(String::new());
        };
        let new = new.to_owned();
        self.ids.drain(..self.context);
        self.context = self.ids.len();
        self.emitted = decode(&self.ids)?.len();
        Ok(new)
    }
}
