//! Byte pair encoding as SentencePiece's `bpe_model.cc` does it: the best-scored pair first, the
//! leftmost among equals.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

use super::vocabulary::{Kind, Vocabulary};

/// A stretch of the text that is one piece so far; empty once it is part of the one before it.
#[derive(Debug, Clone, Copy)]
struct Symbol {
    start: usize,
    len: usize,
    previous: Option<usize>,
    next: Option<usize>,
    /// User-defined: never merged.
    frozen: bool,
}

/// Two neighbours that are a piece together.
#[derive(Debug)]
struct Pair {
    left: usize,
    right: usize,
    score: f32,
    len: usize,
}

impl Ord for Pair {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then_with(|| other.left.cmp(&self.left))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Pair {}

struct Merger<'a> {
    vocabulary: &'a Vocabulary,
    text: &'a str,
    symbols: Vec<Symbol>,
    agenda: BinaryHeap<Pair>,
    /// Where an unused piece was merged: its length and that of its left part.
    unused: HashMap<&'a str, usize>,
}

/// Appends the ids of a normalized text.
pub(super) fn encode(vocabulary: &Vocabulary, text: &str, ids: &mut Vec<u32>) {
    let mut merger = Merger {
        vocabulary,
        text,
        symbols: split(vocabulary, text),
        agenda: BinaryHeap::new(),
        unused: HashMap::new(),
    };
    merger.merge();
    let mut output = Output { vocabulary, ids, after_unknown: false };
    let mut at = (!merger.symbols.is_empty()).then_some(0);
    while let Some(symbol) = at.and_then(|index| merger.symbols.get(index)) {
        merger.emit(&text[symbol.start..symbol.start + symbol.len], &mut output);
        at = symbol.next;
    }
}

/// The text's characters and user-defined symbols.
fn split(vocabulary: &Vocabulary, text: &str) -> Vec<Symbol> {
    let mut symbols = Vec::with_capacity(text.len());
    let mut start = 0;
    while let Some(first) = text[start..].chars().next() {
        let symbol = vocabulary.user_defined().prefix(&text[start..]);
        let len = symbol.unwrap_or(first.len_utf8());
        let index = symbols.len();
        let next = (start + len < text.len()).then_some(index + 1);
        let previous = index.checked_sub(1);
        symbols.push(Symbol { start, len, previous, next, frozen: symbol.is_some() });
        start += len;
    }
    symbols
}

impl<'a> Merger<'a> {
    fn merge(&mut self) {
        for right in 1..self.symbols.len() {
            self.consider(Some(right - 1), Some(right));
        }
        while let Some(pair) = self.agenda.pop() {
            let (left, right) = (self.symbols[pair.left], self.symbols[pair.right]);
            // One of the two has been merged with another since.
            if left.len == 0 || right.len == 0 || left.len + right.len != pair.len {
                continue;
            }
            self.symbols[pair.left].len = pair.len;
            self.symbols[pair.left].next = right.next;
            self.symbols[pair.right].len = 0;
            if let Some(next) = right.next {
                self.symbols[next].previous = Some(pair.left);
            }
            self.consider(left.previous, Some(pair.left));
            self.consider(Some(pair.left), right.next);
        }
    }

    /// Puts two neighbours on the agenda if they are a piece together.
    fn consider(&mut self, left: Option<usize>, right: Option<usize>) {
        let (Some(left), Some(right)) = (left, right) else { return };
        let (first, second) = (self.symbols[left], self.symbols[right]);
        if first.frozen || second.frozen {
            return;
        }
        let len = first.len + second.len;
        let piece = &self.text[first.start..first.start + len];
        let Some(id) = self.vocabulary.merged_id(piece) else { return };
        self.agenda.push(Pair { left, right, score: self.vocabulary.score(id), len });
        if self.vocabulary.kind(id) == Some(Kind::Unused) {
            self.unused.insert(piece, first.len);
        }
    }

    /// Appends a piece; an unused one is taken apart again.
    fn emit(&self, piece: &'a str, output: &mut Output<'_>) {
        let mut stack = vec![piece];
        while let Some(piece) = stack.pop() {
            let id = self.vocabulary.id(piece);
            let unused = id.is_some_and(|id| self.vocabulary.kind(id) == Some(Kind::Unused));
            match self.unused.get(piece) {
                Some(&left) if unused => {
                    stack.push(&piece[left..]);
                    stack.push(&piece[..left]);
                }
                _ => output.push(piece, id),
            }
        }
    }
}

/// Ids, with unknown characters as bytes or as one unknown token a run.
struct Output<'a> {
    vocabulary: &'a Vocabulary,
    ids: &'a mut Vec<u32>,
    after_unknown: bool,
}

impl Output<'_> {
    fn push(&mut self, piece: &str, id: Option<u32>) {
        let unk = self.vocabulary.unk();
        let id = id.unwrap_or(unk);
        match self.vocabulary.bytes() {
            Some(bytes) if id == unk => {
                self.ids.extend(piece.bytes().map(|byte| bytes[usize::from(byte)]));
            }
            None if id == unk && self.after_unknown => {}
            _ => self.ids.push(id),
        }
        self.after_unknown = id == unk;
    }
}
