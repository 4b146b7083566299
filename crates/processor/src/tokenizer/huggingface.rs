//! `tokenizer.json`, through the `tokenizers` crate.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Deserialize;
use serde_json::Value;
use tokenizers::Tokenizer;

use crate::error::{Error, Result};

const KIND: &str = "tokenizer.json";

/// What the first token of a text is called.
const BOS: [&str; 3] = ["<s>", "<|begin_of_text|>", "<bos>"];
/// What the last token of a text is called.
const EOS: [&str; 4] = ["</s>", "<|end_of_text|>", "<eos>", "<|endoftext|>"];

/// A `tokenizer.json`.
#[derive(Debug)]
pub(super) struct HuggingFace {
    tokenizer: Tokenizer,
    /// The pieces by id; an empty one where an id has none.
    pieces: Vec<String>,
}

/// What is looked at before the `tokenizers` crate reads a file.
#[derive(Deserialize)]
struct Parts {
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    post_processor: Value,
}

/// Whether a normalizer has a character map, for which the crate takes as much memory as the map
/// says. No tokenizer of the language models here has one.
fn has_charsmap(normalizer: &Value) -> bool {
    match normalizer {
        Value::Object(object) => {
            object.contains_key("precompiled_charsmap") || object.values().any(has_charsmap)
        }
        Value::Array(list) => list.iter().any(has_charsmap),
        _ => false,
    }
}

/// What a template for one text asks for and does not have; the crate panics where it is used.
fn contradiction(processor: &Value) -> Option<String> {
    if let Some(Value::Array(processors)) = processor.get("processors") {
        return processors.iter().find_map(contradiction);
    }
    let pieces = processor.get("single")?.as_array()?;
    pieces.iter().find_map(|piece| {
        if piece.pointer("/Sequence/id").is_some_and(|id| id == "B") {
            return Some("its template for one text asks for a second one".to_owned());
        }
        let token = piece.pointer("/SpecialToken/id")?.as_str()?;
        let listed = processor.get("special_tokens").and_then(|tokens| tokens.get(token)).is_some();
        (!listed).then(|| format!("its template asks for `{token}`, which special_tokens lacks"))
    })
}

impl HuggingFace {
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let damaged = |detail: String| Error::Vocabulary { kind: KIND, detail };
        // The crate panics where a part of the file is not JSON; this says where that is.
        let parts: Parts =
            serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        if has_charsmap(&parts.normalizer) {
            return Err(damaged("a `Precompiled` normalizer is not supported".to_owned()));
        }
        if let Some(detail) = contradiction(&parts.post_processor) {
            return Err(damaged(detail));
        }
        guarded(|| Self::from_json(bytes))
    }

    fn from_json(bytes: &[u8]) -> Result<Self> {
        let damaged = |detail: String| Error::Vocabulary { kind: KIND, detail };
        let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(|e| damaged(e.to_string()))?;
        // A file may ask for both; a prompt is neither cut nor filled up behind the user's back.
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|e| damaged(e.to_string()))?;
        let vocabulary = tokenizer.get_vocab(true);
        let limit = vocabulary.len().saturating_mul(2) + (1 << 16);
        let largest = vocabulary.values().copied().max().unwrap_or_default() as usize;
        if vocabulary.is_empty() || largest >= limit {
            let count = vocabulary.len();
            return Err(damaged(format!("{count} tokens, the largest id is {largest}")));
        }
        let mut pieces = vec![String::new(); largest + 1];
        for (piece, id) in vocabulary {
            if let Some(slot) = pieces.get_mut(id as usize) {
                *slot = piece;
            }
        }
        Ok(HuggingFace { tokenizer, pieces })
    }

    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>> {
        guarded(|| {
            let encoding = self.tokenizer.encode_fast(text, true).map_err(internal)?;
            Ok(encoding.get_ids().to_vec())
        })
    }

    pub(super) fn decode(&self, ids: &[u32]) -> Result<String> {
        ids.iter().try_for_each(|&id| self.check(id))?;
        guarded(|| self.tokenizer.decode(ids, true).map_err(internal))
    }

    pub(super) fn check(&self, id: u32) -> Result<()> {
        let vocab_size = self.pieces.len();
        if (id as usize) < vocab_size { Ok(()) } else { Err(Error::UnknownId { id, vocab_size }) }
    }

    pub(super) fn vocab_size(&self) -> usize {
        self.pieces.len()
    }

    pub(super) fn bos_id(&self) -> Option<u32> {
        BOS.iter().find_map(|piece| self.tokenizer.token_to_id(piece))
    }

    pub(super) fn eos_id(&self) -> Option<u32> {
        EOS.iter().find_map(|piece| self.tokenizer.token_to_id(piece))
    }

    pub(super) fn piece(&self, id: u32) -> Option<&str> {
        self.pieces.get(id as usize).map(String::as_str).filter(|piece| !piece.is_empty())
    }
}

thread_local! {
    /// Whether a panic of this thread is made an error of.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic of this thread is made an error of: the `tokenizers` crate panics on some files
/// that contradict themselves. A program's panic hook can leave such a panic untold.
pub fn panic_is_caught() -> bool {
    CAUGHT.get()
}

/// Makes an error of a panic.
fn guarded<T>(action: impl FnOnce() -> Result<T>) -> Result<T> {
    let outer = CAUGHT.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(action));
    CAUGHT.set(outer);
    outcome.unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        let detail = format!("the tokenizers library cannot use it ({said})");
        Err(Error::Vocabulary { kind: KIND, detail })
    })
}

/// What the `tokenizers` crate says of a text or of ids.
fn internal(error: tokenizers::Error) -> Error {
    Error::Vocabulary { kind: KIND, detail: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_and_is_known_as_caught_while_it_unwinds() {
        let caught = Cell::new(false);
        let error = guarded::<()>(|| {
            caught.set(panic_is_caught());
            std::panic::resume_unwind(Box::new("no such token"))
        });
        let error = error.unwrap_err().to_string();
        assert!(error.contains("the tokenizers library cannot use it (no such token)"), "{error}");
        assert!(caught.get() && !panic_is_caught());
    }
}
