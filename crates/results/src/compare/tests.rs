use proptest::prelude::*;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};

use super::*;
use crate::schema::{Answer, FirstToken, Generation, Prefill};
use crate::testing;

/// Times around a mean that vary by a share of it, as a machine's would.
struct Noise(Pcg64Mcg);

impl Noise {
    fn ns(&mut self, mean: f64, deviation: f64) -> u64 {
        // A sum of uniform numbers is close to a normal one.
        let sum: f64 = (0..12).map(|_| f64::from(self.0.next_u32()) / 2f64.powi(32)).sum();
        (mean * (1.0 + deviation * (sum - 6.0))) as u64
    }
}

/// A result with ten rows of ten repetitions, every time `factor` as long.
fn noisy(seed: u64, factor: f64, deviation: f64) -> BenchResult {
    let mut noise = Noise(Pcg64Mcg::seed_from_u64(seed));
    let mut answers = Vec::new();
    for _ in 0..10 {
        let [vision, prefill] = [2e8, 1.5e8].map(|ns| noise.ns(ns * factor, deviation));
        let first_token = FirstToken {
            total_ns: vision + prefill + 50_000,
            vision_ns: Some(vision),
            prefill_ns: Some(prefill),
            first_sample_ns: Some(noise.ns(40_000.0, 0.2)),
            ..FirstToken::default()
        };
        answers.push(Answer { first_token, inter_token_ns: Vec::new() });
    }
    let row = |noise: &mut Noise, depth_tokens| Generation {
        tokens: 16,
        depth_tokens,
        repetitions_inter_token_ns: (0..10)
            .map(|_| (0..16).map(|_| noise.ns(3e7 * factor, deviation)).collect())
            .collect(),
    };
    let generation = vec![row(&mut noise, 0), row(&mut noise, 1024)];
    let repetitions_ns = (0..10).map(|_| noise.ns(5e7 * factor, deviation)).collect();
    let prefill = vec![Prefill { tokens: 64, depth_tokens: 0, repetitions_ns }];
    BenchResult { answers, generation, prefill, ..BenchResult::default() }
}

/// The second result against the first.
fn compare(first: &BenchResult, second: &BenchResult) -> Comparison {
    Comparison::of(["a.json", "b.json"], [first, second], CompareOptions::default())
}

fn compare_by(threshold: f64, first: &BenchResult, second: &BenchResult) -> Comparison {
    Comparison::of(["a.json", "b.json"], [first, second], CompareOptions { threshold })
}

fn side_by_side<const N: usize>(results: [BenchResult; N]) -> SideBySide {
    SideBySide::of(&results.map(|result| (String::new(), result)))
}

fn verdict(comparison: &Comparison, name: &str) -> Verdict {
    comparison.rows.iter().find(|row| row.name == name).unwrap().verdict
}

#[test]
fn equal_machines_are_seldom_told_apart() {
    // No threshold: chance alone decides.
    let different = |seed: &u64| {
        let (a, b) = (noisy(2 * seed, 1.0, 0.05), noisy(2 * seed + 1, 1.0, 0.05));
        let differs = |row: &Row| row.verdict != Verdict::WithinNoise;
        compare_by(0.0, &a, &b).rows.iter().any(differs)
    };
    let alarms = (0..400).filter(different).count();
    // One in twenty, and what 400 tries can be off by.
    assert!((1..=35).contains(&alarms), "{alarms} of 400");
}

#[test]
fn a_slowdown_beyond_noise_is_a_regression_and_its_reverse_is_none() {
    let (fast, slow) = (noisy(1, 1.0, 0.01), noisy(2, 1.1, 0.01));
    let worse = compare(&fast, &slow);
    for name in ["first_token", "first_token.vision", "pp64", "tg16", "tg16 @ d1024"] {
        assert_eq!(verdict(&worse, name), Verdict::Worse, "{name}");
    }
    assert!(worse.regressions().count() > 5);
    let row = &worse.rows[0];
    let [low, high] = row.interval.unwrap();
    assert!(low < row.change && row.change < high && high < 0.0, "{row:?}");
    let better = compare(&slow, &fast);
    assert_eq!(better.regressions().count(), 0);
    assert_eq!(verdict(&better, "tg16"), Verdict::Better);
}

#[test]
fn a_sure_difference_below_the_threshold_does_not_count() {
    let (a, b) = (noisy(1, 1.0, 0.001), noisy(2, 1.02, 0.001));
    let comparison = compare(&a, &b);
    assert!(comparison.rows[0].p_value.unwrap() < 1e-6);
    assert_eq!(verdict(&comparison, "pp64"), Verdict::BelowThreshold);
    let strict = compare_by(0.01, &a, &b);
    assert_eq!(verdict(&strict, "pp64"), Verdict::Worse);
}

#[test]
fn a_small_part_that_doubles_is_weighed_against_the_whole() {
    let (a, mut b) = (noisy(1, 1.0, 0.001), noisy(2, 1.0, 0.001));
    for answer in &mut b.answers {
        answer.first_token.first_sample_ns = Some(2 * answer.first_token.first_sample_ns.unwrap());
    }
    let comparison = compare(&a, &b);
    assert_eq!(verdict(&comparison, "first_token.first_sample"), Verdict::BelowThreshold);
}

#[test]
fn one_repetition_decides_nothing() {
    let mut b = noisy(2, 3.0, 0.01);
    b.prefill[0].repetitions_ns.truncate(1);
    let comparison = compare(&noisy(1, 1.0, 0.01), &b);
    assert_eq!(verdict(&comparison, "pp64"), Verdict::Undecided);
    assert!(comparison.to_text().contains("Not judged: 1 metric, of one repetition only"));
}

#[test]
fn memory_and_starts_alone_are_no_verdict() {
    let once = |factor: u64| {
        let mut result = testing::result();
        result.answers.truncate(1);
        result.answers[0].first_token.total_ns *= factor;
        for row in &mut result.prefill {
            row.repetitions_ns = vec![row.repetitions_ns[0] * factor];
        }
        for row in &mut result.generation {
            row.repetitions_inter_token_ns.truncate(1);
        }
        let energy = result.energy.as_mut().unwrap();
        energy.images.truncate(1);
        energy.tokens.truncate(1);
        // As many starts as show noise.
        result.cold_starts = vec![result.cold_starts[0]; 2];
        result
    };
    let comparison = compare(&once(1), &once(5));
    assert_eq!((comparison.judged(), comparison.regressions().count()), (0, 0));
    let text = comparison.to_text();
    assert!(text.contains("Nothing was judged but memory and starts"), "{text}");
    assert!(!text.contains("No regression"), "{text}");
    // That memory grew is a regression all the same.
    let mut larger = once(1);
    larger.memory.peak_process_bytes = larger.memory.peak_process_bytes.map(|bytes| 2 * bytes);
    let text = compare(&once(1), &larger).to_text();
    assert!(text.contains("1 regression in "), "{text}");
}

#[test]
fn metrics_of_one_file_are_named_and_nothing_in_common_is_no_verdict() {
    let (mut a, mut b) = (noisy(1, 1.0, 0.01), noisy(2, 1.0, 0.01));
    b.generation.pop();
    let comparison = compare(&a, &b);
    assert_eq!(comparison.only_first, ["tg16 @ d1024", "tg16 @ d1024 p99"]);
    assert_eq!(comparison.only_second, Vec::<String>::new());
    let text = comparison.to_text();
    assert!(text.contains("Only the first has: tg16 @ d1024, tg16 @ d1024 p99."), "{text}");
    a.prefill.clear();
    a.generation.clear();
    b.answers.clear();
    let nothing = compare(&a, &b);
    assert_eq!(nothing.judged(), 0, "{:?}", nothing.rows);
    assert!(nothing.to_text().contains("Nothing was judged."), "{}", nothing.to_text());
    assert!(!nothing.to_text().contains("No regression"));
}

#[test]
fn memory_is_a_regression_where_it_grows_by_a_tenth() {
    let (a, mut b) = (testing::result(), testing::result());
    b.memory.peak_process_bytes = a.memory.peak_process_bytes.map(|bytes| bytes / 100 * 105);
    let little = compare(&a, &b);
    assert_eq!(little.regressions().count(), 0);
    b.memory.peak_process_bytes = a.memory.peak_process_bytes.map(|bytes| bytes / 100 * 115);
    let much = compare(&a, &b);
    assert_eq!(
        much.regressions().map(|row| &*row.name).collect::<Vec<_>>(),
        ["memory.peak_process"]
    );
    assert!(much.to_text().contains("MORE"), "{}", much.to_text());
    assert!(much.to_text().contains("1 regression in "), "{}", much.to_text());
}

#[test]
fn a_result_is_within_noise_of_itself() {
    let result = testing::result();
    let comparison = compare(&result, &result);
    assert_eq!(comparison.warnings, Vec::<String>::new());
    for row in &comparison.rows {
        assert_eq!(row.change, 0.0, "{row:?}");
        assert!(!matches!(row.verdict, Verdict::Better | Verdict::Worse), "{row:?}");
    }
    assert!(comparison.to_text().contains("No regression in "));
}

#[test]
fn other_models_prompts_and_images_are_warned_about() {
    let (a, mut b) = (testing::result(), testing::result());
    b.model.bundle_sha256 = "99".repeat(32);
    b.configuration.prompt_tokens = 128;
    b.environment.build.profile = "debug".to_owned();
    b.environment.after.throttling = Some(vec!["thermal".to_owned()]);
    for answer in &mut b.answers {
        answer.first_token.total_ns *= 3;
    }
    let comparison = compare(&a, &b);
    let text = comparison.to_text();
    for part in [
        "warning: other bundles (SHA-256 of the manifest): `ababababab` and `9999999999`",
        "warning: other numbers of prompt tokens: `64` and `128`",
        "the questions are not the same",
        "the second result was measured with a debug build",
        "the second result was throttled after measuring: thermal",
        "uncovered",
        "other work",
    ] {
        assert!(text.contains(part), "no `{part}` in {text}");
    }
    assert_eq!(verdict(&comparison, "first_token"), Verdict::OtherWork);
    assert_eq!(comparison.regressions().count(), 0);
    let not_judged = comparison.rows.iter().filter(|row| row.verdict == Verdict::OtherWork).count();
    assert!(text.contains(&format!("Not judged: {not_judged} metrics, of other work.")), "{text}");
    // What is left: `pp` and `tg` rows, the latter's latencies, and energy.
    assert_eq!(comparison.judged(), 1 + 2 * 2 + 2);
    assert!(comparison.to_markdown().starts_with("**Warning:** other bundles"));
}

#[test]
fn json_has_every_row() {
    let comparison = compare(&noisy(1, 1.0, 0.01), &noisy(2, 1.1, 0.01));
    let value: serde_json::Value = serde_json::from_str(&comparison.to_json()).unwrap();
    assert_eq!(value["rows"][0]["name"], "pp64");
    assert_eq!(value["rows"][0]["verdict"], "worse");
    assert_eq!(value["rows"].as_array().unwrap().len(), comparison.rows.len());
}

#[test]
fn several_results_have_a_column_each() {
    let (a, mut b, mut c) = (testing::result(), testing::result(), testing::result());
    b.environment.board = None;
    b.environment.device.as_mut().unwrap().name = "RTX 4090".to_owned();
    c.environment.board = None;
    c.environment.device = None;
    c.energy = None;
    let text = side_by_side([a, b, c]).to_text();
    let heading = text.lines().next().unwrap();
    for name in ["NVIDIA Jetson Orin Nano Developer Kit", "RTX 4090", "Cortex-A78AE"] {
        assert!(heading.contains(name), "{heading}");
    }
    let energy = text.lines().find(|line| line.starts_with("energy token")).unwrap();
    assert_eq!(energy.matches("0.6250 ± 0.0000 J").count(), 2, "{energy}");
}

#[test]
fn rows_are_in_groups_in_an_order_of_their_own() {
    let (mut a, b) = (testing::result(), testing::result());
    // The first result has less, and in another order.
    a.generation.remove(0);
    a.generation[0].depth_tokens = 512;
    a.answers.clear();
    a.memory.weights_bytes = None;
    let table = side_by_side([a, b]);
    let text = table.to_text();
    let rows: Vec<&str> = text
        .lines()
        .map(|line| line.split("  ").next().unwrap())
        .skip_while(|n| *n != "first token")
        .collect();
    let tokens = |name: &str| -> Vec<String> {
        ["p50", "p90", "p95", "p99", "max"].map(|p| format!("{name} inter token {p}")).into()
    };
    let expected: Vec<String> = [
        vec!["first token".to_owned(), "answer tokens".to_owned()],
        ["decode image", "preprocess", "copy", "vision", "connector", "splice", "prefill"]
            .iter()
            .chain(&["first sample", "residual"])
            .map(|part| format!("first token {part}"))
            .collect(),
        ["pp64", "tg4", "tg4 @ d512", "tg4 @ d1024"].map(str::to_owned).into(),
        ["tg4", "tg4 @ d512", "tg4 @ d1024", "answer"].map(tokens).concat(),
        ["process to first token", "process to first answer", "ready", "first token"]
            .iter()
            .chain(&["first answer"])
            .map(|part| format!("cold start from storage kernels compiled {part}"))
            .collect(),
        ["weights", "cache", "peak process", "peak device", "device process"]
            .map(|kind| format!("memory {kind}"))
            .into(),
        ["image", "token", "idle", "idle after", "image above idle", "token above idle"]
            .map(|kind| format!("energy {kind}"))
            .into(),
    ]
    .concat();
    assert_eq!(rows, expected);
    let json: serde_json::Value = serde_json::from_str(&table.to_json()).unwrap();
    assert_eq!(json["results"].as_array().unwrap().len(), 2);
    let metrics = json["metrics"].as_array().unwrap();
    let find = |name: &str| metrics.iter().find(|metric| metric["name"] == name).unwrap();
    let deep = find("tg4 @ d1024 inter_token");
    assert_eq!(deep["values"][0], serde_json::Value::Null);
    assert_eq!((&deep["unit"], &deep["group"]), (&"nanoseconds".into(), &"inter_token".into()));
    assert!(deep["values"][1]["p95"].as_f64() <= deep["values"][1]["p99"].as_f64());
    assert_eq!(find("energy.idle")["values"][1]["mean"], 5.0);
    assert_eq!(json["facts"][0]["name"], "library");
    assert!(json["warnings"].is_array());
}

#[test]
fn a_column_of_another_model_is_warned_about_and_its_name_stays_text() {
    let (a, mut b) = (testing::result(), testing::result());
    b.model.name = "x\u{1b}[2J <b>".to_owned();
    let table = side_by_side([a.clone(), b.clone()]);
    assert!(table.to_text().starts_with("warning: "), "{}", table.to_text());
    let comparison = compare(&a, &b);
    for text in
        [table.to_text(), table.to_markdown(), comparison.to_text(), comparison.to_markdown()]
    {
        assert!(!text.contains('\u{1b}') && text.contains("\\u{1b}"), "{text}");
    }
    assert!(!table.to_markdown().contains("<b>") && !comparison.to_markdown().contains("<b>"));
}

proptest! {
    #[test]
    fn any_two_results_are_compared_without_a_number_that_is_none(
        a in prop::collection::vec(1..u64::MAX >> 14, 1..6),
        b in prop::collection::vec(1..u64::MAX >> 14, 1..6),
        threshold in 0.0..2.0,
    ) {
        let result = |times: &[u64]| BenchResult {
            prefill: vec![Prefill { tokens: 8, depth_tokens: 0, repetitions_ns: times.to_vec() }],
            ..BenchResult::default()
        };
        let comparison = compare_by(threshold, &result(&a), &result(&b));
        let text = comparison.to_text();
        prop_assert!(!text.contains("NaN") && !text.contains("inf"), "{}", text);
    }
}
