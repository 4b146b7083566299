//! What TensorRT logs.

/// How important a message is, the most important first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// TensorRT cannot go on.
    InternalError = 0,
    /// Something failed.
    Error = 1,
    /// Something may not be as wanted.
    Warning = 2,
    /// What TensorRT does.
    Info = 3,
    /// What TensorRT does, in detail: thousands of messages a build.
    Verbose = 4,
}

impl Severity {
    /// The severity of this number in the C header; higher numbers count as the last.
    pub(crate) fn from_number(number: i32) -> Self {
        match number {
            ..=0 => Severity::InternalError,
            1 => Severity::Error,
            2 => Severity::Warning,
            3 => Severity::Info,
            _ => Severity::Verbose,
        }
    }
}

/// A message of TensorRT's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// How important it is.
    pub severity: Severity,
    /// What it says.
    pub text: String,
}
