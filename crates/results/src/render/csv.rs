//! A result as CSV: one line a metric, with what identifies the result in front, so that files can
//! be put behind each other.

use super::escape::presentable;
use super::label;
use crate::metric;
use crate::schema::BenchResult;

const COLUMNS: [&str; 25] = [
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
];

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
    let mut text = line(&COLUMNS.map(str::to_owned));
    for metric in metric::all(result) {
        let Some(summary) = metric.summary() else { continue };
        let known = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
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
    }
}
