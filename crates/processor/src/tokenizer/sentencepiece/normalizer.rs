//! Normalization as SentencePiece's `normalizer.cc` does it.

use super::SPACE;
use super::charsmap::Charsmap;
use super::proto::{NormalizerSpec, TrainerSpec};
use super::symbols::Symbols;
use crate::error::Result;

/// What is done to a text before it is cut into pieces.
#[derive(Debug)]
pub(super) struct Normalizer {
    charsmap: Option<Charsmap>,
    add_dummy_prefix: bool,
    remove_extra_whitespaces: bool,
    whitespace_as_suffix: bool,
    /// What a space becomes.
    space: char,
}

impl Normalizer {
    pub(super) fn new(spec: &NormalizerSpec, trainer: &TrainerSpec) -> Result<Self> {
        let charsmap = match spec.precompiled_charsmap() {
            [] => None,
            bytes => Some(Charsmap::new(bytes)?),
        };
        Ok(Normalizer {
            charsmap,
            add_dummy_prefix: spec.add_dummy_prefix(),
            remove_extra_whitespaces: spec.remove_extra_whitespaces(),
            whitespace_as_suffix: trainer.treat_whitespace_as_suffix(),
            space: if spec.escape_whitespaces() { SPACE } else { ' ' },
        })
    }

    /// Whether a space at the beginning is not part of a decoded text.
    pub(super) fn strips_when_decoding(&self) -> bool {
        self.add_dummy_prefix || self.remove_extra_whitespaces
    }

    pub(super) fn removes_extra_whitespaces(&self) -> bool {
        self.remove_extra_whitespaces
    }

    pub(super) fn normalize(&self, text: &str, symbols: &Symbols) -> String {
        let mut rest = text;
        while self.remove_extra_whitespaces && !rest.is_empty() {
            let (normal, len) = self.prefix(rest, symbols);
            if normal != " " {
                break;
            }
            rest = &rest[len..];
        }
        if rest.is_empty() {
            return String::new();
        }
        let mut out = String::with_capacity(text.len() + text.len() / 2 + 3);
        if self.add_dummy_prefix && !self.whitespace_as_suffix {
            out.push(self.space);
        }
        let mut after_space = self.remove_extra_whitespaces;
        while !rest.is_empty() {
            let (normal, len) = self.prefix(rest, symbols);
            let normal = if after_space { normal.trim_start_matches(' ') } else { normal };
            if !normal.is_empty() {
                out.extend(normal.chars().map(|c| if c == ' ' { self.space } else { c }));
                after_space = normal.ends_with(' ');
            }
            after_space &= self.remove_extra_whitespaces;
            rest = &rest[len..];
        }
        if self.remove_extra_whitespaces {
            out.truncate(out.trim_end_matches(self.space).len());
        }
        if self.add_dummy_prefix && self.whitespace_as_suffix {
            out.push(self.space);
        }
        out
    }

    /// What the beginning of a text becomes, and how many bytes of the text that is.
    fn prefix<'a>(&'a self, text: &'a str, symbols: &Symbols) -> (&'a str, usize) {
        if let Some(len) = symbols.prefix(text) {
            return (&text[..len], len);
        }
        let mapped = self.charsmap.as_ref().and_then(|map| map.longest_prefix(text));
        mapped.unwrap_or_else(|| {
            let len = text.chars().next().map_or(0, char::len_utf8);
            (&text[..len], len)
        })
    }
}
