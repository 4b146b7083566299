//! Several results in one table, a column each.

use std::collections::{HashMap, HashSet};

use super::by_key;
use super::comparable::reservations;
use crate::metric::{Metric, metrics};
use crate::render::escape::{markdown, presentable};
use crate::render::label::{labels, precision, short};
use crate::render::table::Table;
use crate::render::{metric_name, summary_in_unit};
use crate::schema::BenchResult;

/// Several results in one table, a column each; what one has not measured is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SideBySide {
    /// Why the columns may not be comparable, a sentence each.
    warnings: Vec<String>,
    table: Table,
}

impl SideBySide {
    /// The table of named results, in their order.
    pub fn of(results: &[(String, BenchResult)]) -> SideBySide {
        let names = labels(results);
        let warnings = reservations(results, &names);
        let columns = std::iter::once(String::new()).chain(names);
        let mut table = Table::new("", columns);
        for (what, value) in facts() {
            let values: Vec<String> = results.iter().map(|(_, result)| value(result)).collect();
            if values.iter().any(|value| !value.is_empty()) {
                table.row(std::iter::once(what.to_owned()).chain(values));
            }
        }
        let all: Vec<_> = results.iter().map(|(_, result)| metrics(result)).collect();
        let mut known = HashSet::new();
        let keys = all.iter().flatten().map(|metric| metric.key.as_str());
        let keys: Vec<&str> = keys.filter(|key| known.insert(*key)).collect();
        let columns: Vec<_> = all.iter().map(|metrics| by_key(metrics)).collect();
        for key in keys {
            let cell = |column: &HashMap<&str, &Metric>| {
                let metric = column.get(key)?;
                Some(summary_in_unit(metric.unit, &metric.summary()?))
            };
            let cells = columns.iter().map(|column| cell(column).unwrap_or_default());
            table.row(std::iter::once(metric_name(key)).chain(cells));
        }
        SideBySide { warnings, table }
    }

    /// For a terminal.
    pub fn to_text(&self) -> String {
        let warning = |warning: &String| format!("warning: {}\n", presentable(warning));
        self.warnings.iter().map(warning).collect::<String>() + &self.table.to_text()
    }

    /// In Markdown.
    pub fn to_markdown(&self) -> String {
        let warning = |warning: &String| format!("**Warning:** {}\n\n", markdown(warning));
        self.warnings.iter().map(warning).collect::<String>() + &self.table.to_markdown()
    }

    /// For a page, without the warnings.
    pub(crate) fn to_html(&self) -> String {
        self.table.to_html()
    }
}

type Fact = fn(&BenchResult) -> String;

/// What tells results apart, by its name.
fn facts() -> [(&'static str, Fact); 10] {
    [
        ("library", |r| {
            format!("{} {}", r.environment.library.name, r.environment.library.version)
        }),
        ("driver", |r| {
            r.environment.device.as_ref().and_then(|d| d.driver.clone()).unwrap_or_default()
        }),
        ("threads", |r| r.environment.threads.map(|t| t.to_string()).unwrap_or_default()),
        ("power mode", |r| r.environment.power_mode.clone().unwrap_or_default()),
        ("model", |r| r.model.name.clone()),
        ("target", |r| r.model.target.clone()),
        ("precision", precision),
        ("commit", |r| r.environment.build.commit.as_deref().map(short).unwrap_or_default()),
        ("images", |r| r.configuration.images.len().to_string()),
        ("prompt tokens", |r| r.configuration.prompt_tokens.to_string()),
    ]
}
