//! Results of `cumo bench`: the versioned JSON file, statistics over its samples, comparison, and
//! rendering as text, Markdown, CSV and one HTML page.
//!
//! A result keeps every sample. Means, percentiles and verdicts are made from them when they are
//! shown, so an old file can be looked at in a new way.

pub mod schema;

pub use schema::{BenchResult, FORMAT, FORMAT_VERSION};
