//! Results of `cumo bench`: the versioned JSON file, statistics over its samples, comparison, and
//! rendering as text, Markdown, CSV and one HTML page.
//!
//! A result keeps every sample. Means, percentiles and verdicts are made from them when they are
//! shown, so an old file can be looked at in a new way.

mod check;
pub mod compare;
mod error;
mod json;
pub mod metric;
mod read;
pub mod render;
pub mod report;
pub mod schema;
pub mod statistics;
mod terminal;
#[cfg(test)]
mod testing;
mod write;

pub use error::Error;
pub use read::MAX_BYTES;
pub use schema::{BenchResult, FORMAT, FORMAT_VERSION};
pub use terminal::presentable;
pub use write::{check_writable, write_whole};
