//! Results as text, Markdown, CSV and HTML.

mod csv;
pub(crate) mod escape;
pub(crate) mod label;
pub(crate) mod number;
mod overview;
pub(crate) mod sections;
pub(crate) mod table;
mod unit;

pub use csv::to_csv;
pub use overview::overview_markdown;
pub(crate) use sections::sections;
pub(crate) use unit::{in_unit, metric_name, summary_in_unit};

use crate::schema::BenchResult;

/// A result as tables for a terminal.
pub fn to_text(result: &BenchResult) -> String {
    let tables = sections(result);
    tables.iter().map(table::Table::to_text).collect::<Vec<_>>().join("\n")
}

/// A result as tables in Markdown.
pub fn to_markdown(result: &BenchResult) -> String {
    let tables = sections(result);
    tables.iter().map(table::Table::to_markdown).collect::<Vec<_>>().join("\n")
}
