//! From pieces to text, as the slow `LlamaTokenizer` and SentencePiece's `Decode` do together.

use super::vocabulary::Kind;
use super::{SPACE, SentencePiece};
use crate::error::{Error, Result};
use crate::tokenizer::utf8::Utf8Buffer;

/// What is known of the text so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Decoder {
    bytes: Utf8Buffer,
    /// A piece has come that is not skipped.
    started: bool,
    /// There is text.
    any_text: bool,
    /// The last piece's leading space was taken away.
    space_taken: bool,
    /// Leading spaces are no longer taken away.
    past_start: bool,
}

impl Decoder {
    /// Adds an id and appends the text that is complete with it.
    pub(crate) fn push(&mut self, model: &SentencePiece, id: u32, out: &mut String) -> Result<()> {
        let vocabulary = &model.vocabulary;
        let piece =
            vocabulary.piece(id).ok_or(Error::UnknownId { id, vocab_size: vocabulary.len() })?;
        if model.special.iter().any(|(_, special)| *special == id) {
            return Ok(());
        }
        // LlamaTokenizer takes the first space away and gives the rest to SentencePiece, as a
        // string. The rest may be another piece, or none.
        let piece = match piece.strip_prefix(SPACE) {
            Some(rest) if !self.started => rest,
            _ => piece,
        };
        self.started = true;
        let before = out.len();
        match vocabulary.id(piece).and_then(|id| vocabulary.kind(id)) {
            Some(Kind::Byte(byte)) => self.bytes.push(byte, out),
            kind => {
                self.bytes.flush(out);
                self.any_text |= out.len() > before;
                self.past_start |= self.space_taken || self.any_text;
                self.push_text(model, piece, kind, out);
            }
        }
        self.any_text |= out.len() > before;
        Ok(())
    }

    fn push_text(
        &mut self,
        model: &SentencePiece,
        piece: &str,
        kind: Option<Kind>,
        out: &mut String,
    ) {
        self.space_taken = false;
        match kind {
            Some(Kind::Control) => {}
            Some(Kind::Unknown) => out.push_str(model.vocabulary.unk_surface()),
            None => out.push_str(piece),
            _ => {
                let strips = !self.past_start && model.normalizer.strips_when_decoding();
                let rest = piece.strip_prefix(SPACE).filter(|_| strips);
                self.space_taken = rest.is_some() && !model.normalizer.removes_extra_whitespaces();
                let piece = rest.unwrap_or(piece);
                out.extend(piece.chars().map(|c| if c == SPACE { ' ' } else { c }));
            }
        }
    }

    /// Appends what is left: U+FFFD for each byte of an incomplete character.
    pub(crate) fn finish(&mut self, out: &mut String) {
        self.bytes.flush(out);
    }
}
