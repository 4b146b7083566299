//! Several results in one table, a column each.

use std::collections::HashMap;

use serde::Serialize;

use super::by_key;
use super::comparable::reservations;
use crate::json::to_json;
use crate::metric::{self, Group, Metric, Unit};
use crate::render::escape::{markdown, presentable};
use crate::render::label::{labels, precision, short};
use crate::render::table::Table;
use crate::render::{in_unit, metric_name, summary_in_unit};
use crate::schema::BenchResult;
use crate::statistics::Summary;

/// Several results in one table, a column each; what one has not measured is empty.
#[derive(Debug, Clone, PartialEq)]
pub struct SideBySide {
    /// Why the columns may not be comparable, a sentence each.
    warnings: Vec<String>,
    /// A label for each result.
    results: Vec<String>,
    facts: Vec<FactRow>,
    metrics: Vec<MetricRow>,
}

/// What tells results apart.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct FactRow {
    name: &'static str,
    /// A value for each result; empty where it is not known.
    values: Vec<String>,
}

/// One metric of all results.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct MetricRow {
    name: String,
    group: Group,
    unit: Unit,
    /// The samples of each result in a few numbers; none where it has none.
    values: Vec<Option<Summary>>,
}

impl SideBySide {
    /// The table of named results, in their order.
    pub fn of(results: &[(String, BenchResult)]) -> SideBySide {
        let names = labels(results);
        let facts = facts().map(|(name, value)| {
            let values = results.iter().map(|(_, result)| value(result)).collect();
            FactRow { name, values }
        });
        let known = |fact: &FactRow| fact.values.iter().any(|value| !value.is_empty());
        SideBySide {
            warnings: reservations(results, &names),
            results: names,
            facts: facts.into_iter().filter(known).collect(),
            metrics: rows(results),
        }
    }

    /// As JSON, with a line break at its end.
    pub fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct Whole<'a> {
            results: &'a [String],
            warnings: &'a [String],
            facts: &'a [FactRow],
            metrics: &'a [MetricRow],
        }
        let SideBySide { warnings, results, facts, metrics } = self;
        to_json(&Whole { results, warnings, facts, metrics })
    }

    fn table(&self) -> Table {
        let columns = std::iter::once(String::new()).chain(self.results.iter().cloned());
        let mut table = Table::new("", columns);
        for fact in &self.facts {
            table.row(std::iter::once(fact.name.to_owned()).chain(fact.values.iter().cloned()));
        }
        for metric in &self.metrics {
            let mut row = |name: String, cell: &dyn Fn(&Summary) -> String| {
                let cells = metric.values.iter();
                let cells = cells.map(|value| value.as_ref().map(cell).unwrap_or_default());
                table.row(std::iter::once(name).chain(cells));
            };
            let name = metric_name(&metric.name);
            if metric.group == Group::InterToken {
                for (percentile, value) in PERCENTILES {
                    row(format!("{name} {percentile}"), &|s| in_unit(metric.unit, value(s)));
                }
            } else {
                row(name, &|summary| summary_in_unit(metric.unit, summary));
            }
        }
        table
    }

    /// For a terminal.
    pub fn to_text(&self) -> String {
        let warning = |warning: &String| format!("warning: {}\n", presentable(warning));
        self.warnings.iter().map(warning).collect::<String>() + &self.table().to_text()
    }

    /// In Markdown.
    pub fn to_markdown(&self) -> String {
        let warning = |warning: &String| format!("**Warning:** {}\n\n", markdown(warning));
        self.warnings.iter().map(warning).collect::<String>() + &self.table().to_markdown()
    }

    /// For a page, without the warnings.
    pub(crate) fn to_html(&self) -> String {
        self.table().to_html()
    }
}

/// Every metric that a result has, in groups.
fn rows(results: &[(String, BenchResult)]) -> Vec<MetricRow> {
    let columns: Vec<Vec<Metric>> = results.iter().map(|(_, result)| metric::all(result)).collect();
    // A repetition's own 99th percentile is for comparisons; here it is that of all tokens.
    let is_shown = |metric: &&Metric| {
        metric.group != Group::Generation || metric.unit == Unit::TokensPerSecond
    };
    let mut kinds: Vec<&Metric> = columns.iter().flatten().filter(is_shown).collect();
    kinds.sort_by(|a, b| (a.group, a.place, &a.key).cmp(&(b.group, b.place, &b.key)));
    kinds.dedup_by(|a, b| a.key == b.key);
    let columns: Vec<HashMap<&str, &Metric>> = columns.iter().map(|it| by_key(it)).collect();
    let row = |kind: &Metric| MetricRow {
        name: kind.key.clone(),
        group: kind.group,
        unit: kind.unit,
        values: columns.iter().map(|column| column.get(&*kind.key)?.summary()).collect(),
    };
    kinds.into_iter().map(row).collect()
}

type Percentile = fn(&Summary) -> f64;

/// The percentiles of all tokens, as rows.
const PERCENTILES: [(&str, Percentile); 5] = [
    ("p50", |summary| summary.p50),
    ("p90", |summary| summary.p90),
    ("p95", |summary| summary.p95),
    ("p99", |summary| summary.p99),
    ("max", |summary| summary.max),
];

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
