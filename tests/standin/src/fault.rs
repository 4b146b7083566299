//! What a call fails with.

use std::fmt;

/// The codes of the header that `cumo-tensorrt` does not name.
pub(crate) const INVALID_ARGUMENT: i32 = 1;
/// The last of them.
pub(crate) const INTERNAL: i32 = 15;

/// A failed call: one of the header's codes, and a sentence.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) code: i32,
    pub(crate) text: String,
    /// Of [`crate::sys::code::PARSE`]: the nodes that were refused.
    pub(crate) nodes: Vec<RefusedNode>,
}

/// A node that the parser refused.
#[derive(Debug, Clone)]
pub(crate) struct RefusedNode {
    pub(crate) text: String,
    pub(crate) name: String,
    pub(crate) operator: String,
    pub(crate) index: i64,
}

impl Fault {
    pub(crate) fn new(code: i32, text: impl Into<String>) -> Fault {
        Fault { code, text: text.into(), nodes: Vec::new() }
    }

    pub(crate) fn argument(text: impl Into<String>) -> Fault {
        Fault::new(INVALID_ARGUMENT, text)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

pub(crate) type Result<T> = std::result::Result<T, Fault>;
