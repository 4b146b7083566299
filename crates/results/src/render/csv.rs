//! A result as CSV: one line a metric, with what identifies the result in front, so that files can
//! be put behind each other.

use std::collections::HashMap;

use super::escape::presentable;
use super::label;
use crate::metric::{self, test_name};
use crate::schema::BenchResult;
use crate::statistics::Summary;

/// The last seven are llama-bench's, under its names, of `pp` and `tg` rows.
const COLUMNS: [&str; 32] = [
    "time",
    "version",
    "commit",
    "model",
    "bundle_sha256",
    "target",
    "precision",
    "device",
    "library",
    "library_version",
    "power_mode",
    "threads",
    "metric",
    "unit",
    "repetitions",
    "mean",
    "standard_deviation",
    "interval_low",
    "interval_high",
    "min",
    "p50",
    "p99",
    "max",
    "p90",
    "p95",
    "n_prompt",
    "n_gen",
    "n_depth",
    "avg_ns",
    "stddev_ns",
    "avg_ts",
    "stddev_ts",
];

/// A `pp` or `tg` row as llama-bench has it: how many tokens of a prompt, how many generated, behind
/// how many, and how long a repetition took.
struct Test {
    tokens: [u64; 3],
    times_ns: Vec<f64>,
}

/// The rows by the names of their metrics.
fn tests(result: &BenchResult) -> HashMap<String, Test> {
    let prompts = result.prefill.iter().map(|row| {
        let times_ns = row.repetitions_ns.iter().map(|ns| *ns as f64).collect();
        let name = test_name("pp", row.tokens, row.depth_tokens);
        (name, Test { tokens: [row.tokens, 0, row.depth_tokens], times_ns })
    });
    let tokens = result.generation.iter().map(|row| {
        let all = |times: &Vec<u64>| times.iter().map(|ns| *ns as f64).sum();
        let times_ns = row.repetitions_inter_token_ns.iter().map(all).collect();
        let name = test_name("tg", row.tokens, row.depth_tokens);
        (name, Test { tokens: [0, row.tokens, row.depth_tokens], times_ns })
    });
    prompts.chain(tokens).collect()
}

/// A result as CSV after RFC 4180, with a heading. Units are those of the `unit` column; what is
/// not known is empty.
pub fn to_csv(result: &BenchResult) -> String {
    let environment = &result.environment;
    let identity = [
        environment.time.clone(),
        environment.build.version.clone(),
        environment.build.commit.clone().unwrap_or_default(),
        result.model.name.clone(),
        result.model.bundle_sha256.clone(),
        result.model.target.clone(),
        label::precision(result),
        label::device(result),
        environment.library.name.clone(),
        environment.library.version.clone(),
        environment.power_mode.clone().unwrap_or_default(),
        environment.threads.map(|threads| threads.to_string()).unwrap_or_default(),
    ];
    let tests = tests(result);
    let mut text = line(&COLUMNS.map(str::to_owned));
    for metric in metric::all(result) {
        let Some(summary) = metric.summary() else { continue };
        let known = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
        let test = tests.get(&metric.key).map(|test| (test, Summary::of(&test.times_ns)));
        let mut cells = identity.to_vec();
        cells.extend([
            metric.key,
            metric.unit.name().to_owned(),
            summary.count.to_string(),
            summary.mean.to_string(),
            known(summary.standard_deviation),
            known(summary.interval.map(|[low, _]| low)),
            known(summary.interval.map(|[_, high]| high)),
            summary.min.to_string(),
            summary.p50.to_string(),
            summary.p99.to_string(),
            summary.max.to_string(),
            summary.p90.to_string(),
            summary.p95.to_string(),
        ]);
        if let Some((test, Some(times))) = test {
            cells.extend(test.tokens.map(|tokens| tokens.to_string()));
            cells.extend([times.mean.to_string(), known(times.standard_deviation)]);
            cells.extend([summary.mean.to_string(), known(summary.standard_deviation)]);
        }
        cells.resize(COLUMNS.len(), String::new());
        text += &line(&cells);
    }
    text
}

fn line(cells: &[String]) -> String {
    let cell = |cell: &String| {
        let cell = presentable(cell);
        if cell.contains([',', '"']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
    };
    cells.iter().map(cell).collect::<Vec<_>>().join(",") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn every_line_has_every_column() {
        let mut result = testing::result();
        result.model.name = "a,\"b\"\nc".to_owned();
        let text = to_csv(&result);
        assert!(text.contains(r#""a,""b""\nc""#), "{text}");
        result.model.name = "plain".to_owned();
        let text = to_csv(&result);
        assert!(text.lines().count() > 20);
        for line in text.lines() {
            assert_eq!(line.split(',').count(), COLUMNS.len(), "{line}");
        }
    }

    #[test]
    fn latencies_of_all_tokens_have_every_percentile() {
        let mut result = testing::result();
        result.generation[0].tokens = 201;
        result.generation[0].repetitions_inter_token_ns = vec![(0..=200).collect()];
        let text = to_csv(&result);
        let cells = |line: &str| -> Vec<String> { line.split(',').map(str::to_owned).collect() };
        let heading = cells(text.lines().next().unwrap());
        let row = text.lines().find(|line| line.contains(",tg201 inter_token,ns,201,")).unwrap();
        let row = cells(row);
        let cell = |name: &str| &row[heading.iter().position(|column| column == name).unwrap()];
        for (name, value) in
            [("p50", "100"), ("p90", "180"), ("p95", "190"), ("p99", "198"), ("max", "200")]
        {
            assert_eq!(cell(name), value, "{name}");
        }
        assert_eq!(cell("interval_low"), "");
        assert!(text.contains(",first_token.residual,ns,3,"), "{text}");
        assert!(text.contains(",energy.idle,watts,1,5,"), "{text}");
    }

    #[test]
    fn what_is_not_known_is_empty() {
        let text = to_csv(&testing::result());
        let line = text.lines().find(|line| line.contains("memory.cache")).unwrap();
        assert!(line.contains("memory.cache,bytes,1,134217728,,,,134217728,"), "{line}");
        assert!(line.ends_with(",134217728,,,,,,,"), "{line}");
    }

    #[test]
    fn rows_of_llama_bench_have_its_columns() {
        let result = testing::result();
        let text = to_csv(&result);
        let cells = |metric: &str| -> Vec<String> {
            let of_it = |line: &&str| line.contains(&format!(",{metric},tokens_per_second,"));
            let line = text.lines().find(of_it).unwrap();
            line.split(',').skip(COLUMNS.len() - 7).map(str::to_owned).collect()
        };
        // 40.0, 40.8 and 41.6 ms for 64 tokens.
        let prompt = cells("pp64");
        assert_eq!(prompt[..5], ["64", "0", "0", "40800000", "800000"], "{prompt:?}");
        let rate: f64 = prompt[5].parse().unwrap();
        let mean: f64 = [40.0, 40.8, 41.6].map(|ms| 64.0 / (ms / 1e3)).iter().sum::<f64>() / 3.0;
        assert!((rate - mean).abs() < 1e-9, "{rate} {mean}");
        let tokens = cells("tg4 @ d1024");
        assert_eq!(tokens[..3], ["0", "4", "1024"], "{tokens:?}");
        // An answer's tokens are no test of llama-bench.
        assert!(cells("answer.tokens").iter().all(String::is_empty));
    }

    #[test]
    fn the_page_names_every_column() {
        let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/bench.md");
        let page = std::fs::read_to_string(page).unwrap();
        let part = page.split("\n## CSV\n").nth(1).unwrap().split("\n## ").next().unwrap();
        for column in COLUMNS {
            assert!(part.contains(&format!("`{column}`")), "{column}");
        }
    }
}
