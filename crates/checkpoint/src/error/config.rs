//! What can be wrong with a configuration.

use std::path::PathBuf;

/// What is wrong with a key of a configuration.
#[derive(Debug, thiserror::Error)]
#[error("{}: `{key}` {kind}", file.display())]
pub struct ConfigProblem {
    /// The file.
    pub file: PathBuf,
    /// The key, with a dot where it is nested.
    pub key: String,
    /// What is wrong with it.
    pub kind: ConfigProblemKind,
}

/// The ways in which a configuration's value can be wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigProblemKind {
    /// A key without a default is absent.
    #[error("is missing; it should be {want}")]
    Missing {
        /// What it should be.
        want: &'static str,
    },
    /// Another type of value.
    #[error("is {got}, it should be {want}")]
    Type {
        /// The value, shortened.
        got: String,
        /// What it should be.
        want: &'static str,
    },
    /// A number that no model has.
    #[error("is {got}, it should be from {low} to {high}")]
    Range {
        /// The value.
        got: String,
        /// Least.
        low: String,
        /// Greatest.
        high: String,
    },
    /// A number that another must divide.
    #[error("is {got}, which is not a multiple of `{by}` = {divisor}")]
    NotDivisible {
        /// The value.
        got: usize,
        /// The other key.
        by: &'static str,
        /// Its value.
        divisor: usize,
    },
    /// An odd size of attention heads, whose halves rotary embeddings turn against each other.
    #[error("is {got}, rotary embeddings need an even number")]
    Odd {
        /// The value.
        got: usize,
    },
    /// Two values that contradict each other.
    #[error("is {got}, but {with} is {other}")]
    Contradicts {
        /// The value.
        got: String,
        /// The other key, or what the other value is.
        with: String,
        /// Its value.
        other: String,
    },
    /// A value that exists elsewhere and is not supported here.
    #[error("{got} is not supported, because {because}")]
    NotSupported {
        /// The value.
        got: String,
        /// The reason, with what is supported.
        because: String,
    },
    /// The vision tower's configuration was not found.
    #[error(
        "names `{got}`, which is neither a folder with a config.json (looked at {looked_at}) nor a CLIP tower whose \
         configuration is known ({known}); --clip DIR brings a folder with CLIP's config.json and \
         preprocessor_config.json"
    )]
    NoTower {
        /// The value.
        got: String,
        /// The folder that was tried.
        looked_at: String,
        /// Hub names that are known.
        known: String,
    },
}
