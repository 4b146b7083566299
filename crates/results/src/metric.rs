//! What a result says, as a flat list: one metric a name, one sample a repetition.

use serde::Serialize;

use crate::schema::{Answer, BenchResult, ColdStart, EnergySpan, Generation};
use crate::statistics::{Summary, percentile};

/// What a metric's numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Time.
    Nanoseconds,
    /// Throughput.
    TokensPerSecond,
    /// Memory.
    Bytes,
    /// Energy.
    Joules,
    /// Power.
    Watts,
}

impl Unit {
    /// Whether a larger number is the better one.
    pub fn more_is_better(self) -> bool {
        self == Unit::TokensPerSecond
    }

    /// The unit's name in files of columns.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Nanoseconds => "ns",
            Unit::TokensPerSecond => "tokens_per_second",
            Unit::Bytes => "bytes",
            Unit::Joules => "joules",
            Unit::Watts => "watts",
        }
    }
}

/// Which work a metric belongs to, in the order of tables' rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// The question with its images.
    Answer,
    /// A part of the time to the first token.
    FirstTokenPart,
    /// A `pp` row.
    Prefill,
    /// A `tg` row.
    Generation,
    /// The time from token to token, of all tokens of all repetitions. They depend on each other,
    /// so that they have no interval, and are not compared.
    InterToken,
    /// Starts of new processes.
    ColdStart,
    /// Memory.
    Memory,
    /// Energy.
    Energy,
}

/// One thing that was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// Its name in files, for example `first_token.vision` or `tg128 @ d1024`.
    pub key: String,
    /// The work it belongs to.
    pub group: Group,
    /// Where it stands within its group, whatever else a result has: depth and tokens of `pp` and
    /// `tg` rows, else a number.
    pub place: [u64; 2],
    /// What its numbers are.
    pub unit: Unit,
    /// One number a repetition, in their order; one number for what was read once.
    pub samples: Vec<f64>,
}

impl Metric {
    /// The samples in a few numbers; none where there are none.
    pub fn summary(&self) -> Option<Summary> {
        let summary = Summary::of(&self.samples)?;
        let interval = summary.interval.filter(|_| self.group != Group::InterToken);
        Some(Summary { interval, ..summary })
    }
}

/// The name of the time to the first token among metrics.
pub const FIRST_TOKEN: &str = "first_token";

/// Starts that are not the same: those that read the model from storage, and those that find it in
/// memory; those that compile the device's kernels, and those that find them.
fn kinds_of_start() -> impl Iterator<Item = (String, Option<bool>, Option<bool>)> {
    let storage = [(".from_storage", Some(true)), (".cached", Some(false)), ("", None)];
    let kernels = [(".kernels_compiled", Some(false)), (".kernels_found", Some(true)), ("", None)];
    storage.into_iter().flat_map(move |(storage, dropped)| {
        kernels.map(|(kernels, found)| (format!("cold_start{storage}{kernels}"), dropped, found))
    })
}

/// All that a result has measured, in the order of tables. What was not measured is not there.
pub fn metrics(result: &BenchResult) -> Vec<Metric> {
    let mut list = Vec::new();
    throughput(result, &mut list);
    first_token(&result.answers, &mut list);
    let mut place = 0;
    let mut add = |key: &str, group, unit, samples: Vec<f64>| {
        place += 1;
        if !samples.is_empty() {
            list.push(Metric { key: key.to_owned(), group, place: [place, 0], unit, samples });
        }
    };
    for (kind, dropped, kernels_found) in kinds_of_start() {
        let starts = result.cold_starts.iter().filter(|start| {
            (start.page_cache_dropped, start.kernels_found) == (dropped, kernels_found)
        });
        let mut times = |part: &str, time: fn(&ColdStart) -> Option<u64>| {
            let samples = starts.clone().filter_map(time).map(|ns| ns as f64).collect();
            add(&format!("{kind}.{part}"), Group::ColdStart, Unit::Nanoseconds, samples);
        };
        times("process_to_first_token", ColdStart::to_first_token_ns);
        times("process_to_first_answer", ColdStart::to_first_answer_ns);
        times("ready", |start| Some(start.ready_ns));
        times("first_token", |start| start.first_token_ns);
        times("first_answer", |start| start.first_answer_ns);
    }
    let memory = &result.memory;
    for (key, bytes) in [
        ("memory.weights", memory.weights_bytes),
        ("memory.cache", memory.cache_bytes),
        ("memory.peak_process", memory.peak_process_bytes),
        ("memory.peak_device", memory.peak_device_bytes),
        ("memory.device_process", memory.device_process_bytes),
    ] {
        let samples = bytes.map(|bytes| bytes as f64).into_iter().collect();
        add(key, Group::Memory, Unit::Bytes, samples);
    }
    if let Some(energy) = &result.energy {
        let each =
            |spans: &[EnergySpan]| spans.iter().filter_map(EnergySpan::joules_each).collect();
        add("energy.image", Group::Energy, Unit::Joules, each(&energy.images));
        add("energy.token", Group::Energy, Unit::Joules, each(&energy.tokens));
    }
    list
}

/// What describes a result further, and is not compared: the time from token to token over all
/// tokens, what no part of the time to the first token covers, and power at rest with the energy
/// above it.
pub fn descriptions(result: &BenchResult) -> Vec<Metric> {
    let mut list = Vec::new();
    let mut add = |key: String, group, place, unit, samples: Vec<f64>| {
        if !samples.is_empty() {
            list.push(Metric { key, group, place, unit, samples });
        }
    };
    for row in &result.generation {
        let key = format!("{} inter_token", test_name("tg", row.tokens, row.depth_tokens));
        let place = [row.depth_tokens, row.tokens];
        add(key, Group::InterToken, place, Unit::Nanoseconds, row.inter_token_ns());
    }
    let answers = result.answers.iter();
    let tokens = answers.clone().flat_map(|answer| &answer.inter_token_ns);
    let tokens = tokens.map(|ns| *ns as f64).collect();
    let key = "answer.inter_token".to_owned();
    add(key, Group::InterToken, [u64::MAX; 2], Unit::Nanoseconds, tokens);
    let residuals = answers.map(|answer| answer.first_token.residual_ns()).collect();
    let key = format!("{FIRST_TOKEN}.residual");
    add(key, Group::FirstTokenPart, [u64::MAX; 2], Unit::Nanoseconds, residuals);
    let Some(energy) = &result.energy else { return list };
    let watts =
        |span: &Option<EnergySpan>| span.as_ref().and_then(EnergySpan::watts).into_iter().collect();
    let mut place = 100;
    let mut add = |key: &str, unit, samples| {
        place += 1;
        add(key.to_owned(), Group::Energy, [place, 0], unit, samples);
    };
    add("energy.idle", Unit::Watts, watts(&energy.idle));
    add("energy.idle_after", Unit::Watts, watts(&energy.idle_after));
    if let Some(idle) = energy.idle_watts() {
        let above = |spans: &[EnergySpan]| {
            spans.iter().filter_map(|span| span.joules_each_above(idle)).collect()
        };
        add("energy.image_above_idle", Unit::Joules, above(&energy.images));
        add("energy.token_above_idle", Unit::Joules, above(&energy.tokens));
    }
    list
}

/// [`metrics`] and, behind them, [`descriptions`].
pub fn all(result: &BenchResult) -> Vec<Metric> {
    [metrics(result), descriptions(result)].concat()
}

/// `pp` and `tg` rows, and for each `tg` row the latency that one token in a hundred is over.
fn throughput(result: &BenchResult, list: &mut Vec<Metric>) {
    for row in &result.prefill {
        let rate = |ns: &u64| row.tokens as f64 * 1e9 / *ns as f64;
        list.push(Metric {
            key: test_name("pp", row.tokens, row.depth_tokens),
            group: Group::Prefill,
            place: [row.depth_tokens, row.tokens],
            unit: Unit::TokensPerSecond,
            samples: row.repetitions_ns.iter().map(rate).collect(),
        });
    }
    for row in &result.generation {
        let name = test_name("tg", row.tokens, row.depth_tokens);
        list.push(Metric {
            key: name.clone(),
            group: Group::Generation,
            place: [row.depth_tokens, row.tokens],
            unit: Unit::TokensPerSecond,
            samples: row.tokens_per_second(),
        });
        let p99 = row.repetitions_inter_token_ns.iter().filter_map(|times| {
            let mut times: Vec<f64> = times.iter().map(|ns| *ns as f64).collect();
            times.sort_by(f64::total_cmp);
            percentile(&times, 99.0)
        });
        list.push(Metric {
            key: format!("{name} p99"),
            group: Group::Generation,
            place: [row.depth_tokens, row.tokens],
            unit: Unit::Nanoseconds,
            samples: p99.collect(),
        });
    }
}

/// The time to the first token, its parts, and the tokens behind it.
fn first_token(answers: &[Answer], list: &mut Vec<Metric>) {
    if answers.is_empty() {
        return;
    }
    list.push(Metric {
        key: FIRST_TOKEN.to_owned(),
        group: Group::Answer,
        place: [0, 0],
        unit: Unit::Nanoseconds,
        samples: answers.iter().map(|answer| answer.first_token.total_ns as f64).collect(),
    });
    let parts = answers.first().map(|answer| answer.first_token.parts()).unwrap_or_default();
    for (index, (name, _)) in parts.into_iter().enumerate() {
        let part = |answer: &Answer| answer.first_token.parts()[index].1.map(|ns| ns as f64);
        let samples: Vec<f64> = answers.iter().filter_map(part).collect();
        if !samples.is_empty() {
            list.push(Metric {
                key: format!("{FIRST_TOKEN}.{}", name.replace(' ', "_")),
                group: Group::FirstTokenPart,
                place: [index as u64, 0],
                unit: Unit::Nanoseconds,
                samples,
            });
        }
    }
    let samples: Vec<f64> = answers.iter().filter_map(|a| rate(&a.inter_token_ns)).collect();
    if !samples.is_empty() {
        list.push(Metric {
            key: "answer.tokens".to_owned(),
            group: Group::Answer,
            place: [1, 0],
            unit: Unit::TokensPerSecond,
            samples,
        });
    }
}

/// A test's name as llama-bench writes it: `tg128 @ d1024`.
pub fn test_name(kind: &str, tokens: u64, depth_tokens: u64) -> String {
    match depth_tokens {
        0 => format!("{kind}{tokens}"),
        depth => format!("{kind}{tokens} @ d{depth}"),
    }
}

/// Tokens a second over the times of tokens; none where there are none or they took no time.
fn rate(times_ns: &[u64]) -> Option<f64> {
    let total: f64 = times_ns.iter().map(|ns| *ns as f64).sum();
    (total > 0.0).then(|| times_ns.len() as f64 * 1e9 / total)
}

impl Generation {
    /// Tokens a second, one number a repetition.
    pub fn tokens_per_second(&self) -> Vec<f64> {
        self.repetitions_inter_token_ns.iter().filter_map(|times| rate(times)).collect()
    }

    /// The times of all tokens of all repetitions, in nanoseconds.
    pub fn inter_token_ns(&self) -> Vec<f64> {
        self.repetitions_inter_token_ns.iter().flatten().map(|ns| *ns as f64).collect()
    }
}

impl EnergySpan {
    /// Mean power, in watts; none where the span took no time.
    pub fn watts(&self) -> Option<f64> {
        (self.duration_ns > 0).then(|| self.joules * 1e9 / self.duration_ns as f64)
    }

    /// Energy for each image or token, in joules; none where nothing was counted.
    pub fn joules_each(&self) -> Option<f64> {
        (self.count > 0).then(|| self.joules / self.count as f64)
    }

    /// The same above what an idle machine takes in that time: `idle` is its power, in watts.
    pub fn joules_each_above(&self, idle: f64) -> Option<f64> {
        let above = self.joules - idle * self.duration_ns as f64 / 1e9;
        (self.count > 0).then(|| above / self.count as f64)
    }
}

#[cfg(test)]
mod tests;
