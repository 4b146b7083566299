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

/// Which work a metric belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
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
mod tests {
    use super::*;
    use crate::testing;

    fn metric(key: &str) -> Metric {
        let list = metrics(&testing::result());
        list.into_iter().find(|metric| metric.key == key).unwrap()
    }

    #[test]
    fn rows_are_named_as_llama_bench_names_them() {
        let keys: Vec<String> = metrics(&testing::result()).into_iter().map(|m| m.key).collect();
        assert_eq!(keys[..5], ["pp64", "tg4", "tg4 p99", "tg4 @ d1024", "tg4 @ d1024 p99"]);
    }

    #[test]
    fn throughput_is_tokens_over_their_time() {
        // 64 tokens in 40.0, 40.8 and 41.6 ms.
        let rates: Vec<f64> = [40.0, 40.8, 41.6].map(|ms| 64.0 / (ms / 1e3)).into();
        for (found, expected) in metric("pp64").samples.iter().zip(rates) {
            assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        }
        // Four tokens of 30.0, 30.6, 31.2 and 30.3 ms.
        let found = metric("tg4").samples[0];
        assert!((found - 4.0 / 0.1221).abs() < 1e-6, "{found}");
    }

    #[test]
    fn the_latency_of_a_row_is_the_99th_percentile_of_each_repetition() {
        let mut result = testing::result();
        // 1 to 101 ms: the percentile is the 100th of them, the median the 51st.
        let times = |factor: u64| (1..=101).map(|ms| factor * ms * 1_000_000).collect();
        result.generation[0].tokens = 101;
        result.generation[0].repetitions_inter_token_ns = vec![times(1), times(2)];
        let metrics = metrics(&result);
        let p99 = metrics.iter().find(|metric| metric.key == "tg101 p99").unwrap();
        assert_eq!(p99.samples, [100e6, 200e6]);
    }

    #[test]
    fn descriptions_are_of_all_tokens_and_of_what_no_part_covers() {
        let mut result = testing::result();
        result.generation[0].repetitions_inter_token_ns = vec![vec![1, 2], vec![3, 4]];
        result.energy.as_mut().unwrap().idle_after =
            Some(EnergySpan { joules: 12.0, duration_ns: 4_000_000_000, count: 0 });
        let list = descriptions(&result);
        let find = |key: &str| list.iter().find(|metric| metric.key == key).unwrap();
        let tokens = find("tg4 inter_token");
        assert_eq!(tokens.samples, [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(tokens.summary().unwrap().interval, None);
        assert_eq!(find("answer.inter_token").samples.len(), 9);
        let residuals: Vec<f64> =
            result.answers.iter().map(|answer| answer.first_token.residual_ns()).collect();
        assert_eq!(find("first_token.residual").samples, residuals);
        // 25 J in 5 s before, 12 J in 4 s after: the lower one counts.
        assert_eq!(find("energy.idle").samples, [5.0]);
        assert_eq!(find("energy.idle_after").samples, [3.0]);
        assert_eq!(find("energy.image_above_idle").samples, [12.5 - 3.0 * 0.9; 3]);
        assert_eq!(find("energy.token_above_idle").samples, [(40.0 - 9.0) / 64.0; 3]);
        // They are not compared.
        assert!(metrics(&result).iter().all(|metric| list.iter().all(|l| l.key != metric.key)));
        assert_eq!(all(&result).len(), metrics(&result).len() + list.len());
    }

    #[test]
    fn energy_is_told_for_each_image_and_token() {
        assert_eq!(metric("energy.image").samples, [12.5; 3]);
        assert_eq!(metric("energy.token").samples, [0.625; 3]);
        let span = EnergySpan { joules: 40.0, duration_ns: 4_000_000_000, count: 10 };
        assert_eq!((span.watts(), span.joules_each_above(5.0)), (Some(10.0), Some(2.0)));
    }

    #[test]
    fn starts_from_storage_and_from_the_page_cache_are_kept_apart() {
        let start = |ready_ns, page_cache_dropped| ColdStart {
            ready_ns,
            page_cache_dropped,
            ..ColdStart::default()
        };
        let cold_starts =
            vec![start(900, Some(true)), start(300, Some(false)), start(310, Some(false))];
        let samples = |cold_starts| {
            let result = BenchResult { cold_starts, ..BenchResult::default() };
            let metrics = metrics(&result).into_iter();
            metrics.map(|metric| (metric.key, metric.samples)).collect::<Vec<_>>()
        };
        assert_eq!(
            samples(cold_starts),
            [
                ("cold_start.from_storage.ready".to_owned(), vec![900.0]),
                ("cold_start.cached.ready".to_owned(), vec![300.0, 310.0]),
            ]
        );
        let whole = ColdStart {
            first_token_ns: Some(20),
            first_answer_ns: Some(70),
            ..start(900, Some(true))
        };
        let whole = samples(vec![whole]);
        let from = |part: &str, ns| (format!("cold_start.from_storage.{part}"), vec![ns]);
        assert_eq!(
            whole[..2],
            [from("process_to_first_token", 920.0), from("process_to_first_answer", 970.0)]
        );
        let unknown = vec![start(900, None), start(300, None)];
        assert_eq!(samples(unknown), [("cold_start.ready".to_owned(), vec![900.0, 300.0])]);
    }

    #[test]
    fn starts_that_compile_kernels_and_those_that_find_them_are_kept_apart() {
        let start = |ready_ns, kernels_found| ColdStart {
            ready_ns,
            page_cache_dropped: Some(false),
            kernels_found: Some(kernels_found),
            ..ColdStart::default()
        };
        let cold_starts = vec![start(900, false), start(300, true), start(310, true)];
        let result = BenchResult { cold_starts, ..BenchResult::default() };
        let metrics = metrics(&result).into_iter();
        assert_eq!(
            metrics.map(|metric| (metric.key, metric.samples)).collect::<Vec<_>>(),
            [
                ("cold_start.cached.kernels_compiled.ready".to_owned(), vec![900.0]),
                ("cold_start.cached.kernels_found.ready".to_owned(), vec![300.0, 310.0]),
            ]
        );
    }

    #[test]
    fn what_was_not_measured_is_no_metric() {
        assert_eq!(metrics(&BenchResult::default()), []);
    }
}
