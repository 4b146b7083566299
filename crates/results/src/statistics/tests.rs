use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// What numpy and scipy make of samples; `make_statistics.py` beside the file wrote it.
fn reference() -> Value {
    serde_json::from_str(include_str!("../../tests/data/statistics.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

#[track_caller]
fn close(found: f64, expected: f64) {
    let scale = expected.abs().max(1e-9);
    assert!((found - expected).abs() <= 1e-9 * scale, "{found} is not {expected}");
}

#[test]
fn summaries_are_those_of_numpy_and_scipy() {
    let reference = reference();
    let percents = numbers(&reference["percents"]);
    let summaries = reference["summaries"].as_array().unwrap();
    assert!(summaries.len() > 5);
    for expected in summaries {
        let samples = numbers(&expected["samples"]);
        let found = Summary::of(&samples).unwrap();
        close(found.mean, expected["mean"].as_f64().unwrap());
        let mut sorted = samples.clone();
        sorted.sort_by(f64::total_cmp);
        for (percent, value) in percents.iter().zip(numbers(&expected["percentiles"])) {
            close(percentile(&sorted, *percent).unwrap(), value);
        }
        let fields = [found.min, found.p50, found.p90, found.p95, found.p99, found.max];
        for (percent, field) in [0.0, 50.0, 90.0, 95.0, 99.0, 100.0].into_iter().zip(fields) {
            close(field, percentile(&sorted, percent).unwrap());
        }
        match expected.get("standard_deviation") {
            Some(deviation) => {
                close(found.standard_deviation.unwrap(), deviation.as_f64().unwrap())
            }
            None => assert_eq!((found.standard_deviation, found.interval), (None, None)),
        }
        if let Some(interval) = expected.get("interval") {
            let [low, high] = found.interval.unwrap();
            close(low, interval[0].as_f64().unwrap());
            close(high, interval[1].as_f64().unwrap());
        }
    }
}

#[test]
fn students_t_is_that_of_scipy() {
    for row in reference()["student_t"].as_array().unwrap() {
        let [freedom, probability, t] = numbers(row)[..] else { panic!("{row}") };
        close(student_t_quantile(probability, freedom), t);
        close(student_t_cdf(t, freedom), probability);
    }
}

#[test]
fn differences_are_those_of_scipy() {
    for expected in reference()["welch"].as_array().unwrap() {
        let found = Welch::of(&numbers(&expected["first"]), &numbers(&expected["second"])).unwrap();
        close(found.difference, expected["difference"].as_f64().unwrap());
        close(found.interval[0], expected["interval"][0].as_f64().unwrap());
        close(found.interval[1], expected["interval"][1].as_f64().unwrap());
        close(found.p_value, expected["p_value"].as_f64().unwrap());
    }
}

#[test]
fn no_samples_and_no_numbers_have_no_summary() {
    assert_eq!(Summary::of(&[]), None);
    assert_eq!(Summary::of(&[1.0, f64::NAN]), None);
    assert_eq!(Summary::of(&[f64::INFINITY]), None);
    assert_eq!(percentile(&[], 50.0), None);
}

#[test]
fn one_sample_has_a_mean_and_no_spread() {
    let summary = Summary::of(&[5.0]).unwrap();
    assert_eq!((summary.mean, summary.p50, summary.max), (5.0, 5.0, 5.0));
    assert_eq!((summary.standard_deviation, summary.interval), (None, None));
    assert_eq!(Welch::of(&[5.0], &[1.0, 2.0]), None);
}

#[test]
fn groups_that_do_not_vary_differ_or_do_not() {
    let same = Welch::of(&[3.0; 4], &[3.0; 2]).unwrap();
    assert_eq!((same.difference, same.p_value), (0.0, 1.0));
    let other = Welch::of(&[3.0; 4], &[4.0; 2]).unwrap();
    assert_eq!((other.interval, other.p_value), ([1.0, 1.0], 0.0));
}

proptest! {
    #[test]
    fn percentiles_rise_and_lie_between_the_ends(
        mut samples in prop::collection::vec(-1e12..1e12, 1..60),
        percents in (0.0..100.0, 0.0..100.0),
    ) {
        samples.sort_by(f64::total_cmp);
        let (a, b): (f64, f64) = percents;
        let (low, high) = (a.min(b), a.max(b));
        let at = |percent| percentile(&samples, percent).unwrap();
        prop_assert!(at(low) <= at(high));
        prop_assert!(at(0.0) == samples[0] && at(100.0) == samples[samples.len() - 1]);
        prop_assert!(samples[0] <= at(low) && at(high) <= samples[samples.len() - 1]);
    }

    #[test]
    fn a_summary_of_what_a_file_may_hold_is_finite_and_in_order(
        samples in prop::collection::vec(0_u64..=1_000_000_000_000_000, 1..60),
    ) {
        let samples: Vec<f64> = samples.into_iter().map(|ns| ns as f64).collect();
        let summary = Summary::of(&samples).unwrap();
        let order = [summary.min, summary.p50, summary.p90, summary.p95, summary.p99, summary.max];
        prop_assert!(order.is_sorted(), "{order:?}");
        let within = |mean: f64| (summary.min * 0.999_999..=summary.max * 1.000_001).contains(&mean);
        prop_assert!(within(summary.mean));
        if let Some([low, high]) = summary.interval {
            prop_assert!(low.is_finite() && high.is_finite() && low <= summary.mean && summary.mean <= high);
        }
    }

    #[test]
    fn students_t_is_never_no_number(t in -1e9..1e9, freedom in 0.01..1e7) {
        let probability = student_t_cdf(t, freedom);
        prop_assert!((0.0..=1.0).contains(&probability), "{probability}");
    }
}
