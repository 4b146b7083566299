//! What one result says, as tables.

use super::label;
use super::number::{bytes, milliseconds, number, share};
use super::table::Table;
use super::unit::{mean_and_deviation, metric_name, summary_in_unit};
use crate::metric::{Group, Metric, Unit, metrics, test_name};
use crate::schema::{BenchResult, Conditions, Energy, FirstToken};
use crate::statistics::Summary;

/// The share of the time to the first token that no part may leave uncovered.
pub(crate) const MAX_RESIDUAL: f64 = 0.02;

/// Nanoseconds of a millisecond.
const MILLISECOND: f64 = 1e6;

/// The tables of a result, in their order; those without rows are left out.
pub(crate) fn sections(result: &BenchResult) -> Vec<Table> {
    let metrics = metrics(result);
    let tables = [
        identity(result),
        throughput(result, &metrics),
        token_latency(result),
        first_token(result),
        others(&metrics),
        energy(result.energy.as_ref()),
        expert_load(result),
        notes(result),
    ];
    tables.into_iter().filter(|table| !table.is_empty()).collect()
}

/// What was measured where.
fn identity(result: &BenchResult) -> Table {
    let (environment, model, asked) = (&result.environment, &result.model, &result.configuration);
    let mut table = Table::new("", ["cumo bench", &environment.build.version]).of_words();
    let precision = label::precision(result);
    let hash = label::short(&model.bundle_sha256);
    let size = model.files_bytes.map(|size| format!(", {}", bytes(size as f64)));
    table.row([
        "model",
        &format!(
            "{} ({}, {precision}{}), bundle {hash}",
            model.name,
            model.target,
            size.unwrap_or_default()
        ),
    ]);
    let mut device = label::device(result);
    if let Some(gpu) = &environment.device {
        for (what, value) in [("driver", &gpu.driver), ("CUDA", &gpu.cuda)] {
            device += &value.as_ref().map(|value| format!(", {what} {value}")).unwrap_or_default();
        }
    }
    if let Some(threads) = environment.threads {
        device += &format!(", {threads} threads");
    }
    if let Some(mode) = &environment.power_mode {
        device += &format!(", {mode}");
    }
    table.row(["device", &device]);
    table
        .row(["library", &format!("{} {}", environment.library.name, environment.library.version)]);
    let os = &environment.os;
    let system = [&os.name, &os.kernel].into_iter().flatten().cloned().collect::<Vec<_>>();
    table.row(["system", &system.join(", ")]);
    let commit =
        environment.build.commit.as_ref().map(|commit| format!(" of {}", label::short(commit)));
    let build = format!(
        "{}{}, {}",
        environment.build.profile,
        commit.unwrap_or_default(),
        environment.time
    );
    table.row(["build", &build]);
    let images = asked.images.len();
    table.row([
        "work",
        &format!(
            "{images} {}, {} prompt tokens, {} generated; {} repetitions after {} of warm-up",
            if images == 1 { "image" } else { "images" },
            asked.prompt_tokens,
            asked.generate_tokens,
            asked.repetitions,
            asked.warmup,
        ),
    ]);
    for (moment, state) in environment.moments() {
        let state = conditions(state);
        if !state.is_empty() {
            table.row([moment, &state]);
        }
    }
    table
}

fn conditions(state: &Conditions) -> String {
    let mut words: Vec<String> = Vec::new();
    words.extend(state.temperatures.iter().map(|t| format!("{} {:.0} °C", t.sensor, t.celsius)));
    words.extend(state.clocks.iter().map(|clock| {
        let most = clock.max_hz.map(|most| format!(" of {:.0}", most as f64 / 1e6));
        format!("{} {:.0}{} MHz", clock.name, clock.hz as f64 / 1e6, most.unwrap_or_default())
    }));
    match state.throttling.as_deref() {
        Some([]) => words.push("not throttled".to_owned()),
        Some(reasons) => words.push(format!("THROTTLED ({})", reasons.join(", "))),
        None => {}
    }
    words.extend(state.load_average.map(|load| format!("load average {load:.2}")));
    words.join(", ")
}

/// `pp` and `tg` rows that stand beside llama-bench's.
fn throughput(result: &BenchResult, metrics: &[Metric]) -> Table {
    let columns = ["model", "size", "backend", "threads", "test", "t/s", "95 % interval"];
    let mut table = Table::new("Throughput", columns);
    let environment = &result.environment;
    let size = result.model.files_bytes.map(|size| bytes(size as f64)).unwrap_or_default();
    let threads = environment.threads.map(|threads| threads.to_string()).unwrap_or_default();
    for metric in metrics.iter().filter(|metric| metric.unit == Unit::TokensPerSecond) {
        let Some(summary) = metric.summary() else { continue };
        let test = if metric.group == Group::Answer { "tg, answers" } else { &metric.key };
        let interval = summary.interval.map(|[low, high]| format!("{low:.2} .. {high:.2}"));
        table.row([
            result.model.name.as_str(),
            &size,
            &environment.library.name,
            &threads,
            test,
            summary_in_unit(metric.unit, &summary).trim_end_matches(" t/s"),
            &interval.unwrap_or_default(),
        ]);
    }
    table
}

/// The time from token to token, of all tokens of all repetitions.
fn token_latency(result: &BenchResult) -> Table {
    let columns = ["test", "mean ± sd", "p50", "p90", "p95", "p99", "max"];
    let mut table = Table::new("Inter-token latency, ms", columns);
    let mut rows: Vec<(String, Vec<f64>)> = Vec::new();
    for row in &result.generation {
        rows.push((test_name("tg", row.tokens, row.depth_tokens), row.inter_token_ns()));
    }
    let answers = result.answers.iter().flat_map(|answer| &answer.inter_token_ns);
    rows.push(("tg, answers".to_owned(), answers.map(|ns| *ns as f64).collect()));
    for (name, samples) in rows {
        let Some(summary) = Summary::of(&samples) else { continue };
        let mut cells = vec![name, mean_and_deviation(&summary, MILLISECOND)];
        let percentiles = [summary.p50, summary.p90, summary.p95, summary.p99, summary.max];
        cells.extend(percentiles.map(milliseconds));
        table.row(cells);
    }
    table
}

/// The time to the first token by parts, what no part covers, and the whole.
fn first_token(result: &BenchResult) -> Table {
    let columns = ["part", "mean ± sd", "95 % interval", "p50", "p90", "max", "share"];
    let mut table = Table::new("Time to first token, ms", columns);
    let samples: Vec<FirstToken> = result.answers.iter().map(|a| a.first_token).collect();
    let totals: Vec<f64> = samples.iter().map(|first| first.total_ns as f64).collect();
    let Some(total) = Summary::of(&totals) else { return table };
    let mut row = |name: &str, values: &[f64]| {
        let Some(summary) = Summary::of(values) else { return };
        let interval = summary
            .interval
            .map(|[low, high]| format!("{} .. {}", milliseconds(low), milliseconds(high)));
        table.row([
            name.to_owned(),
            mean_and_deviation(&summary, MILLISECOND),
            interval.unwrap_or_default(),
            milliseconds(summary.p50),
            milliseconds(summary.p90),
            milliseconds(summary.max),
            share(summary.mean / total.mean),
        ]);
    };
    for (index, (name, _)) in FirstToken::default().parts().into_iter().enumerate() {
        let part = |first: &FirstToken| first.parts()[index].1.map(|ns| ns as f64);
        row(name, &samples.iter().filter_map(part).collect::<Vec<_>>());
    }
    let residuals: Vec<f64> = samples.iter().map(FirstToken::residual_ns).collect();
    let over = Summary::of(&residuals).is_some_and(|r| r.mean.abs() > MAX_RESIDUAL * total.mean);
    row(if over { "residual (over 2 %!)" } else { "residual" }, &residuals);
    row("total", &totals);
    table
}

/// Starts and memory.
fn others(metrics: &[Metric]) -> Table {
    let mut table = Table::new("Starts and memory", ["what", "mean ± sd", "repetitions"]);
    let wanted = |metric: &&Metric| matches!(metric.group, Group::ColdStart | Group::Memory);
    for metric in metrics.iter().filter(wanted) {
        let Some(summary) = metric.summary() else { continue };
        let value = summary_in_unit(metric.unit, &summary);
        let beside = match metric.key.as_str() {
            "memory.peak_device" => " (allocated here)",
            "memory.device_process" => " (all of the process, by NVML)",
            _ => "",
        };
        let name = metric_name(&metric.key) + beside;
        table.row([name, value, summary.count.to_string()]);
    }
    table
}

fn energy(energy: Option<&Energy>) -> Table {
    let columns = ["what", "J, mean ± sd", "J above idle", "W, mean", "spans"];
    let Some(energy) = energy else { return Table::new("", columns) };
    let mut table = Table::new(&format!("Energy ({}: {})", energy.sensor, energy.scope), columns);
    let idle = energy.idle_watts();
    for (what, span) in [("idle, before", &energy.idle), ("idle, after", &energy.idle_after)] {
        if let Some(watts) = span.and_then(|span| span.watts()) {
            table.row([what, "", "", &number(watts), "1"]);
        }
    }
    for (what, spans) in [("an image", &energy.images), ("a token", &energy.tokens)] {
        let each: Vec<f64> = spans.iter().filter_map(|span| span.joules_each()).collect();
        let Some(summary) = Summary::of(&each) else { continue };
        let mean = |values: Vec<f64>| Summary::of(&values).map(|s| number(s.mean));
        let above = idle.and_then(|idle| {
            mean(spans.iter().filter_map(|span| span.joules_each_above(idle)).collect())
        });
        let watts = mean(spans.iter().filter_map(|span| span.watts()).collect());
        table.row([
            what.to_owned(),
            mean_and_deviation(&summary, 1.0),
            above.unwrap_or_default(),
            watts.unwrap_or_default(),
            summary.count.to_string(),
        ]);
    }
    table
}

/// Each router's tokens by expert, as shares.
fn expert_load(result: &BenchResult) -> Table {
    // A token is a choice for each expert that it is sent to.
    let columns = ["router", "choices", "most / mean", "share of each expert"];
    let mut table = Table::new("Expert load", columns).ending_in_words();
    for load in &result.expert_load {
        let tokens: f64 = load.tokens_per_expert.iter().map(|tokens| *tokens as f64).sum();
        let most = load.tokens_per_expert.iter().max().copied().unwrap_or(0) as f64;
        let shares =
            load.tokens_per_expert.iter().map(|expert| share(*expert as f64 / tokens.max(1.0)));
        let mean = tokens / load.tokens_per_expert.len().max(1) as f64;
        table.row([
            format!("{} {}", load.part, load.layer),
            tokens.to_string(),
            if mean > 0.0 { format!("{:.2}", most / mean) } else { String::new() },
            shares.collect::<Vec<_>>().join("  "),
        ]);
    }
    table
}

fn notes(result: &BenchResult) -> Table {
    let mut table = Table::new("", ["Notes"]);
    for note in &result.notes {
        table.row([note.as_str()]);
    }
    table
}

#[cfg(test)]
mod tests {
    use crate::render::{to_markdown, to_text};
    use crate::schema::{Answer, BenchResult, FirstToken};
    use crate::testing;

    #[test]
    fn a_result_is_shown_whole() {
        let text = to_text(&testing::result());
        for part in [
            "cumo-mistral-7b (tensorrt-10.3, f16, 14.90 GiB), bundle ababababab",
            "NVIDIA Jetson Orin Nano Developer Kit, driver 540.4.0, CUDA 12.6, 6 threads, 25W",
            "gpu-thermal 61 °C, gpu 1020 of 1020 MHz, not throttled, load average 0.25",
            "tg4 @ d1024",
            "prefill",
            "residual",
            "cold start from storage kernels compiled ready",
            "memory peak device",
            "Energy (INA3221 VDD_IN: module)",
            "vision 0",
            "the swap was in use",
        ] {
            assert!(text.contains(part), "no `{part}` in\n{text}");
        }
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
        assert!(to_markdown(&testing::result()).contains("### Time to first token, ms"));
    }

    /// The cells of the row that begins with a name, in the table of a title.
    fn cells(result: &BenchResult, title: &str, name: &str) -> Vec<String> {
        let text = to_markdown(result);
        let table = text.split("### ").find(|table| table.starts_with(title)).unwrap();
        let row = |line: &str| -> Vec<String> {
            line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()
        };
        table.lines().map(row).find(|cells| cells[0] == name).unwrap()
    }

    #[test]
    fn percentiles_stand_below_their_names() {
        let mut result = testing::result();
        result.generation[0].tokens = 201;
        let times = (0..=200_u64).map(|ms| ms * 1_000_000).collect();
        result.generation[0].repetitions_inter_token_ns = vec![times];
        let title = "Inter-token latency";
        assert_eq!(
            cells(&result, title, "test")[2..],
            ["p50", "p90", "p95", "p99", "max"].map(str::to_owned)
        );
        assert_eq!(
            cells(&result, title, "tg201")[2..],
            ["100.0", "180.0", "190.0", "198.0", "200.0"].map(str::to_owned)
        );
    }

    #[test]
    fn parts_have_their_own_share_of_the_whole() {
        let first_token = FirstToken {
            total_ns: 100_000_000,
            vision_ns: Some(70_000_000),
            prefill_ns: Some(29_000_000),
            ..FirstToken::default()
        };
        let answers = vec![Answer { first_token, inter_token_ns: Vec::new() }];
        let result = BenchResult { answers, ..BenchResult::default() };
        for (part, share) in [
            ("vision", "70.0 %"),
            ("prefill", "29.0 %"),
            ("residual", "1.0 %"),
            ("total", "100.0 %"),
        ] {
            assert_eq!(cells(&result, "Time to first token", part)[6], share, "{part}");
        }
    }

    #[test]
    fn energy_is_beside_both_rests_and_above_the_lower_one() {
        // 25 J and 26 J in 5 s; 12.5 J in 0.9 s; 40 J for 64 tokens in 3 s.
        let result = testing::result();
        let cells = |name: &str| cells(&result, "Energy", name)[1..4].join(" / ");
        assert_eq!(cells("idle, before"), " /  / 5.000");
        assert_eq!(cells("idle, after"), " /  / 5.200");
        assert_eq!(cells("an image"), "12.50 ± 0.00 / 8.000 / 13.89");
        assert_eq!(cells("a token"), "0.6250 ± 0.0000 / 0.3906 / 13.33");
    }

    #[test]
    fn an_empty_result_is_shown_without_a_number_that_nobody_measured() {
        let text = to_text(&BenchResult::default());
        assert!(
            !text.contains("NaN") && !text.contains("t/s") && !text.contains("Energy"),
            "{text}"
        );
    }

    #[test]
    fn a_large_residual_is_pointed_at() {
        let first_token =
            FirstToken { total_ns: 100, prefill_ns: Some(97), ..FirstToken::default() };
        let answers = vec![Answer { first_token, inter_token_ns: Vec::new() }];
        let mut result = BenchResult { answers, ..BenchResult::default() };
        assert!(to_text(&result).contains("residual (over 2 %!)"));
        result.answers[0].first_token.prefill_ns = Some(99);
        assert!(!to_text(&result).contains("over 2 %"));
    }

    #[test]
    fn one_repetition_has_no_spread() {
        let mut result = testing::result();
        result.answers.truncate(1);
        let text = to_text(&result);
        let total = text.lines().find(|line| line.starts_with("total")).unwrap();
        assert!(!total.contains('±') && !total.contains(".."), "{total}");
    }
}
