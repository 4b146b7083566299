//! Results in one table with a row each: what fits into a README.

use super::label::{device, precision};
use super::table::Table;
use super::{metric_name, summary_in_unit};
use crate::metric::{FIRST_TOKEN, Group, Metric, Unit, metrics};
use crate::schema::BenchResult;

/// A table in Markdown, a row for each named result: the first `pp` row, the `tg` rows of the least
/// and the largest depth, time to first token, and the peak of memory. What was not measured is
/// empty.
pub fn overview_markdown(results: &[(String, BenchResult)]) -> String {
    let columns = [
        "result",
        "model",
        "target",
        "device",
        "library",
        "time to first token",
        "prompt",
        "generation",
        "deepest generation",
        "peak memory",
    ];
    let mut table = Table::new("", columns);
    for (name, result) in results {
        let library = &result.environment.library;
        let threads = result.environment.threads.map(|threads| format!(", {threads} threads"));
        let metrics = metrics(result);
        let find = |key: &str| metrics.iter().find(|metric| metric.key == key);
        let tokens = |metric: &&Metric| {
            metric.group == Group::Generation && metric.unit == Unit::TokensPerSecond
        };
        let first = metrics.iter().find(tokens);
        let last = metrics.iter().rfind(tokens).filter(|last| Some(*last) != first);
        let device_memory = find("memory.peak_device");
        table.row([
            name.clone(),
            result.model.name.clone(),
            format!("{} {}", result.model.target, precision(result)),
            format!("{}{}", device(result), threads.unwrap_or_default()),
            format!("{} {}", library.name, library.version),
            find(FIRST_TOKEN).map(value).unwrap_or_default(),
            metrics
                .iter()
                .find(|metric| metric.group == Group::Prefill)
                .map(named)
                .unwrap_or_default(),
            first.map(named).unwrap_or_default(),
            last.map(named).unwrap_or_default(),
            device_memory.or(find("memory.peak_process")).map(value).unwrap_or_default(),
        ]);
    }
    table.to_markdown()
}

fn value(metric: &Metric) -> String {
    let summary = metric.summary();
    summary.map(|summary| summary_in_unit(metric.unit, &summary)).unwrap_or_default()
}

fn named(metric: &Metric) -> String {
    format!("{}: {}", metric_name(&metric.key), value(metric))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_result_has_a_row() {
        let text = overview_markdown(&[
            ("orin.json".to_owned(), testing::result()),
            ("empty.json".to_owned(), BenchResult::default()),
        ]);
        let row = text.lines().find(|line| line.contains("orin.json")).unwrap();
        for part in
            ["tensorrt-10.3 f16", "408.0 ± 8.0 ms", "pp64: ", "tg4: ", "tg4 @ d1024: ", "14.16 GiB"]
        {
            assert!(row.contains(part), "no `{part}` in {row}");
        }
        assert_eq!(text.lines().count(), 4);
        assert!(!text.contains("NaN"));
    }
}
