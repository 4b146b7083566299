//! Two results against each other, and several side by side.

mod comparable;
mod side_by_side;
mod verdict;

use std::collections::{HashMap, HashSet};

use serde::Serialize;

pub(crate) use comparable::reservations;
pub use side_by_side::SideBySide;
pub use verdict::Verdict;

use crate::json::to_json;
use crate::metric::{FIRST_TOKEN, Group, Metric, Unit, metrics};
use crate::render::escape::{markdown, presentable};
use crate::render::number::change;
use crate::render::table::Table;
use crate::render::{in_unit, metric_name};
use crate::schema::BenchResult;
use crate::statistics::Welch;

/// What counts as a difference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CompareOptions {
    /// The least difference that counts, as a share of the first result's mean. Repetitions of one
    /// run do not show what differs from run to run (where memory lay, how warm the machine was),
    /// so a difference can be sure and still be noise.
    pub threshold: f64,
}

impl Default for CompareOptions {
    fn default() -> Self {
        CompareOptions { threshold: 0.03 }
    }
}

/// The least difference that counts in a number that was read once, such as a peak of memory, whose
/// spread is not known; the threshold, where that is larger.
const SINGLE_THRESHOLD: f64 = 0.1;

/// The least difference that counts in a part, as a share of the whole time to the first token: who
/// waits for that does not notice twice a microsecond.
const PART_THRESHOLD: f64 = 0.01;

/// How often one of all verdicts may be wrong where nothing differs.
const FALSE_ALARMS: f64 = 0.05;

/// The second result against the first.
///
/// Repetitions are the samples: those within one (the times of its tokens) depend on each other,
/// and would make intervals too narrow. Intervals and probabilities are Welch's t, which needs no
/// equal spread and, other than a bootstrap, holds for a handful of repetitions and gives the same
/// answer each time. Verdicts are Holm's over all rows: were nothing different, one comparison in
/// twenty would have any row that says otherwise, however many rows there are.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// A name for the first result.
    pub first: String,
    /// A name for the second result.
    pub second: String,
    /// The least difference that counts, as a share.
    pub threshold: f64,
    /// Why the numbers may not be comparable, a sentence each.
    pub warnings: Vec<String>,
    /// Every metric that both have.
    pub rows: Vec<Row>,
    /// Metrics that only the first result has.
    pub only_first: Vec<String>,
    /// Metrics that only the second result has.
    pub only_second: Vec<String>,
}

/// One metric of both results.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The metric's name.
    pub name: String,
    /// The work it belongs to.
    pub group: Group,
    /// Its unit.
    pub unit: Unit,
    /// Repetitions of the first and the second result.
    pub repetitions: [usize; 2],
    /// Mean of the first result.
    pub first: f64,
    /// Mean of the second result.
    pub second: f64,
    /// The difference, as a share of the first mean.
    pub change: f64,
    /// The 95 % interval of the change; none where one of them has one repetition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<[f64; 2]>,
    /// The probability of such a difference by chance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p_value: Option<f64>,
    /// What it means.
    pub verdict: Verdict,
}

impl Comparison {
    /// Compares the second result with the first; `names` are theirs in tables.
    pub fn of(
        names: [&str; 2],
        [first, second]: [&BenchResult; 2],
        options: CompareOptions,
    ) -> Comparison {
        let other_work = comparable::other_work(first, second);
        let (ours, others) = (metrics(first), metrics(second));
        let first_token = ours.iter().find(|metric| metric.key == FIRST_TOKEN);
        let first_token = first_token.and_then(|metric| metric.summary()).map(|s| s.mean);
        let by_key = by_key(&others);
        let mut judged: Vec<(Row, f64)> = Vec::new();
        for metric in &ours {
            let Some(other) = by_key.get(metric.key.as_str()) else { continue };
            let Some(mut row) = row(metric, other) else { continue };
            if matches!(metric.group, Group::Answer | Group::FirstTokenPart) && other_work {
                row.verdict = Verdict::OtherWork;
            }
            let mut least = options.threshold * row.first;
            if let (Group::FirstTokenPart, Some(whole)) = (metric.group, first_token) {
                least = least.max(PART_THRESHOLD * whole);
            }
            judged.push((row, least));
        }
        let compared: HashSet<&str> = judged.iter().map(|(row, _)| row.name.as_str()).collect();
        let only = |metrics: &[Metric]| -> Vec<String> {
            let others = metrics.iter().filter(|metric| !compared.contains(metric.key.as_str()));
            let measured = others.filter(|metric| !metric.samples.is_empty());
            measured.map(|metric| metric.key.clone()).collect()
        };
        let (only_first, only_second) = (only(&ours), only(&others));
        verdict::judge(&mut judged, FALSE_ALARMS, SINGLE_THRESHOLD.max(options.threshold));
        Comparison {
            first: names[0].to_owned(),
            second: names[1].to_owned(),
            threshold: options.threshold,
            warnings: comparable::warnings(first, second),
            rows: judged.into_iter().map(|(row, _)| row).collect(),
            only_first,
            only_second,
        }
    }

    /// The rows in which the second result is worse beyond noise.
    pub fn regressions(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.verdict.is_regression())
    }

    /// How many metrics of the model's work were judged: those of which both results have enough
    /// repetitions of the same work. Memory, which is read once, and starts of processes are not
    /// among them: two results are not alike for being as large.
    pub fn judged(&self) -> usize {
        let of_work = |row: &&Row| !matches!(row.group, Group::Memory | Group::ColdStart);
        self.rows.iter().filter(of_work).filter(|row| row.verdict.is_judged()).count()
    }

    /// As JSON, with a line break at its end.
    pub fn to_json(&self) -> String {
        to_json(self)
    }

    /// As a table for a terminal, the warnings before it and what it says behind.
    pub fn to_text(&self) -> String {
        self.shown(Table::to_text, |warning| format!("warning: {}\n", presentable(warning)))
    }

    /// As a table in Markdown.
    pub fn to_markdown(&self) -> String {
        self.shown(Table::to_markdown, |warning| format!("**Warning:** {}\n\n", markdown(warning)))
    }

    fn shown(&self, table: impl Fn(&Table) -> String, warning: impl Fn(&str) -> String) -> String {
        let mut text = String::new();
        for sentence in &self.warnings {
            text += &warning(sentence);
        }
        text += &table(&self.table());
        text + "\n" + &self.conclusion() + "\n"
    }

    fn table(&self) -> Table {
        let columns = ["metric", &self.first, &self.second, "change", "95 % interval", "verdict"];
        let mut table = Table::new("", columns).ending_in_words();
        for row in &self.rows {
            let interval =
                row.interval.map(|[low, high]| format!("{} .. {}", change(low), change(high)));
            table.row([
                metric_name(&row.name),
                in_unit(row.unit, row.first),
                in_unit(row.unit, row.second),
                change(row.change),
                interval.unwrap_or_default(),
                row.verdict.words(row.unit).to_owned(),
            ]);
        }
        table
    }

    /// What the table says, in a sentence.
    fn conclusion(&self) -> String {
        let metrics = |count: usize| match count {
            1 => "1 metric".to_owned(),
            many => format!("{many} metrics"),
        };
        let judged = self.rows.iter().filter(|row| row.verdict.is_judged()).count();
        let mut text = match (self.judged(), self.regressions().count()) {
            (0, 0) if judged == 0 => "Nothing was judged.".to_owned(),
            (0, 0) => {
                "Nothing was judged but memory and starts, which say nothing of the model's speed."
                    .to_owned()
            }
            (_, regressions) => format!(
                "{} in {}: what is worse by more than {} and beyond noise (Welch's t, 5 % for all rows together).",
                match regressions {
                    0 => "No regression".to_owned(),
                    1 => "1 regression".to_owned(),
                    many => format!("{many} regressions"),
                },
                metrics(judged),
                change(self.threshold).trim_start_matches('+'),
            ),
        };
        let reasons = [
            (Verdict::Undecided, "one repetition only, which shows no noise"),
            (Verdict::OtherWork, "other work"),
        ];
        for (verdict, reason) in reasons {
            let count = self.rows.iter().filter(|row| row.verdict == verdict).count();
            if count > 0 {
                text += &format!(" Not judged: {}, of {reason}.", metrics(count));
            }
        }
        for (which, only) in [("first", &self.only_first), ("second", &self.only_second)] {
            if !only.is_empty() {
                let names: Vec<String> = only.iter().map(|name| metric_name(name)).collect();
                text += &format!(" Only the {which} has: {}.", names.join(", "));
            }
        }
        text
    }
}

/// Metrics by their names; of those of one name the first.
pub(crate) fn by_key(metrics: &[Metric]) -> HashMap<&str, &Metric> {
    // From behind, so that the first is put in last.
    metrics.iter().rev().map(|metric| (metric.key.as_str(), metric)).collect()
}

/// Both means and their difference; the verdict is made later. None where one has no samples.
fn row(metric: &Metric, other: &Metric) -> Option<Row> {
    let (first, second) = (metric.summary()?, other.summary()?);
    let scale = |difference: f64| match first.mean {
        0.0 if difference == 0.0 => 0.0,
        // From nothing to something.
        0.0 => difference.signum(),
        mean => difference / mean,
    };
    let welch = Welch::of(&metric.samples, &other.samples);
    Some(Row {
        name: metric.key.clone(),
        group: metric.group,
        unit: metric.unit,
        repetitions: [first.count, second.count],
        first: first.mean,
        second: second.mean,
        change: scale(second.mean - first.mean),
        interval: welch.map(|welch| welch.interval.map(scale)),
        p_value: welch.map(|welch| welch.p_value),
        verdict: if metric.group == Group::Memory { Verdict::Single } else { Verdict::Undecided },
    })
}

#[cfg(test)]
mod tests;
