//! Texts that are always one token (`user_defined_symbols`).

use std::collections::{BTreeSet, HashSet};

/// A set of texts, asked for the longest that another text begins with.
#[derive(Debug, Default)]
pub(super) struct Symbols {
    texts: HashSet<String>,
    lengths: BTreeSet<usize>,
}

impl Symbols {
    pub(super) fn insert(&mut self, text: &str) {
        self.texts.insert(text.to_owned());
        self.lengths.insert(text.len());
    }

    /// Bytes of the longest symbol that `text` begins with.
    pub(super) fn prefix(&self, text: &str) -> Option<usize> {
        let fits = self.lengths.range(..=text.len()).rev();
        fits.copied().find(|&len| text.get(..len).is_some_and(|head| self.texts.contains(head)))
    }
}
