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
    let whole =
        ColdStart { first_token_ns: Some(20), first_answer_ns: Some(70), ..start(900, Some(true)) };
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
