use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::testing;

fn read(text: &str) -> Result<BenchResult, Error> {
    BenchResult::from_json(text.as_bytes(), Path::new("r.json"))
}

/// The message with all its causes.
fn message(text: &str) -> String {
    let error = read(text).unwrap_err();
    let source = std::error::Error::source(&error).map(ToString::to_string);
    format!("{error}: {}", source.unwrap_or_default())
}

/// The whole example with one value replaced.
fn with(pointer: &str, value: Value) -> String {
    let mut result = serde_json::to_value(testing::result()).unwrap();
    *result.pointer_mut(pointer).unwrap() = value;
    result.to_string()
}

#[test]
fn what_was_written_is_read() {
    let result = testing::result();
    assert_eq!(read(&result.to_json()).unwrap(), result);
    let least = read(&BenchResult::default().to_json()).unwrap();
    assert_eq!(least, BenchResult::default());
}

#[test]
fn a_result_is_kept_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.json");
    testing::result().write(&path).unwrap();
    assert_eq!(BenchResult::read(&path).unwrap(), testing::result());
    let missing = BenchResult::read(&folder.path().join("no.json")).unwrap_err();
    assert!(missing.to_string().contains("no.json: cannot be read"), "{missing}");
}

#[test]
fn what_was_not_measured_is_absent() {
    let text = BenchResult::default().to_json();
    for name in ["energy", "vision_ns", "answers", "device", "driver", "power_mode", "throttling"] {
        assert!(!text.contains(name), "{name} in {text}");
    }
    assert!(!text.contains("null"), "{text}");
}

#[test]
fn fields_of_a_later_version_are_passed_over() {
    let mut value = serde_json::to_value(testing::result()).unwrap();
    value["fan"] = json!({"rpm": 5000});
    value["environment"]["fan"] = json!(1);
    assert_eq!(read(&value.to_string()).unwrap(), testing::result());
}

#[test]
fn other_files_are_told_from_results() {
    assert!(message("# A file").contains("r.json: not a whole result of `cumo bench`: expected"));
    assert!(message("[1]").contains("format `1` without a version, this program"));
    assert!(
        message("{}").contains("r.json: no `format`, this program reads `cumo-bench` version 1")
    );
    let bundle = r#"{"format": "cumo-bundle", "format_version": 1}"#;
    assert!(message(bundle).contains("r.json: format `cumo-bundle` version 1, this program"));
    let later = r#"{"format": "cumo-bench", "format_version": 2}"#;
    assert!(message(later).contains("r.json: format `cumo-bench` version 2, this program"));
    let none = r#"{"format": "cumo-bench"}"#;
    assert!(message(none).contains("r.json: format `cumo-bench` without a version"));
    let long = json!({"format": "x".repeat(1 << 20), "format_version": [1, 2, 3]}).to_string();
    assert!(message(&long).len() < 200);
    let empty = r#"{"format": "cumo-bench", "format_version": 1}"#;
    assert!(message(empty).contains("missing field `environment`"));
}

#[test]
fn absurd_numbers_are_named() {
    let absurd = [
        ("/answers/0/first_token/total_ns", json!(0), "answers[0]: no time to first token"),
        (
            "/answers/0/first_token/vision_ns",
            json!(u64::MAX),
            "first_token: vision is 1844674407370955",
        ),
        (
            "/answers/1/inter_token_ns/0",
            json!(u64::MAX),
            "answers[1].inter_token_ns is 18446744073",
        ),
        ("/prefill/0/repetitions_ns", json!([]), "prefill[0]: no repetitions"),
        ("/prefill/0/repetitions_ns/0", json!(0), "prefill[0]: a repetition that took no time"),
        ("/generation/0/tokens", json!(7), "generation[0]: 4 times of 7 tokens"),
        ("/generation/0/repetitions_inter_token_ns", json!([]), "generation[0]: no repetitions"),
        (
            "/environment/before/temperatures/0/celsius",
            json!(1e308),
            "`gpu-thermal` is 1e308 degrees",
        ),
        ("/environment/after/load_average", json!(-1.0), "a load average of -1e0"),
        ("/energy/tokens/0/joules", json!(-5.0), "energy.tokens: -5e0 joules"),
        ("/energy/images/0/count", json!(0), "energy.images: a count of 0"),
        ("/energy/idle/duration_ns", json!(0), "energy.idle: a span that took no time"),
        ("/expert_load/0/tokens_per_expert", json!([]), "expert_load[0]: no experts"),
        ("/memory/cache_bytes", json!(u64::MAX), "memory is 18446744073709551615"),
    ];
    for (pointer, value, expected) in absurd {
        let message = message(&with(pointer, value));
        assert!(message.starts_with("r.json: ") && message.contains(expected), "{message}");
    }
}

#[test]
fn numbers_of_another_kind_are_told_with_their_place() {
    for value in [json!(-1), json!(1.5), json!("7"), json!(null)] {
        let message = message(&with("/answers/0/first_token/total_ns", value));
        assert!(message.contains("invalid type") || message.contains("invalid value"), "{message}");
        assert!(message.contains("line 1 column"), "{message}");
    }
    let huge = with("/energy/tokens/0/joules", json!(12345.5)).replace("12345.5", "1e999");
    assert!(message(&huge).contains("number out of range"));
}

#[test]
fn very_many_problems_are_not_all_told() {
    let problems = vec![json!(u64::MAX); 100_000];
    let many = message(&with("/answers/0/inter_token_ns", problems.into()));
    assert!(many.len() < 1000 && many.contains("; and many more"), "{many}");
    let seven = message(&with("/answers/0/inter_token_ns", vec![json!(u64::MAX); 7].into()));
    assert!(seven.contains("; and 2 more"), "{seven}");
}

#[test]
fn a_writer_refuses_what_a_reader_would() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.json");
    let mut result = testing::result();
    result.environment.before.load_average = Some(f64::NAN);
    assert!(result.write(&path).unwrap_err().to_string().contains("a load average of NaN"));
    let mut result = testing::result();
    result.notes = vec![String::new(); 1001];
    let error = result.write(&path).unwrap_err().to_string();
    assert!(error.contains("notes has 1001 rows, over 1000"), "{error}");
    let mut result = testing::result();
    result.answers[0].inter_token_ns = vec![1; 1 << 20];
    let error = result.write(&path).unwrap_err().to_string();
    assert!(error.contains("1048623 samples, over 1048576"), "{error}");
    assert!(!path.exists());
}

#[test]
fn a_file_that_is_too_large_is_not_read_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.json");
    let file = File::create(&path).unwrap();
    file.set_len(100 << 30).unwrap();
    let error = BenchResult::read(&path).unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }) && error.to_string().contains("large.json"));
}

#[cfg(target_os = "linux")]
#[test]
fn what_is_no_file_is_named_and_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe.json");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    // One that never ends, one that never begins, and one that has none.
    for path in [Path::new("/dev/zero"), &pipe, folder.path()] {
        let error = BenchResult::read(path).unwrap_err();
        assert!(matches!(error, Error::NotAFile { .. }), "{error}");
        let message = error.to_string();
        assert!(message.ends_with("from files of at most 16777216 bytes"), "{message}");
        assert!(message.starts_with(path.to_str().unwrap()), "{message}");
    }
}

#[test]
fn lists_of_more_rows_than_any_result_has_are_refused_where_they_end() {
    let row = json!({"tokens": 1, "depth_tokens": 0, "repetitions_ns": [1]});
    let message = |pointer, list: Vec<Value>| message(&with(pointer, list.into()));
    let depths = message("/prefill", vec![row; 1001]);
    assert!(depths.contains("r.json: not a whole result"), "{depths}");
    assert!(depths.contains("a list of over 1000 elements"), "{depths}");
    for (pointer, element) in [
        ("/notes", json!("")),
        ("/configuration/depths", json!(0)),
        ("/environment/after/throttling", json!("")),
        ("/environment/processor/features", json!("")),
    ] {
        let found = message(pointer, vec![element; 100_000]);
        assert!(found.contains("a list of over 1000 elements"), "{pointer}: {found}");
    }
    let found = message("/generation/0/repetitions_inter_token_ns", vec![json!([]); 1_048_577]);
    assert!(found.contains("a list of over 1048576 elements"), "{found}");
    let part = json!({"weights": "", "activations": ""});
    let parts = (0..1001).map(|index| (index.to_string(), part.clone()));
    let found = self::message(&with("/model/parts", Value::Object(parts.collect())));
    assert!(found.contains("an object of over 1000 names"), "{found}");
}

proptest! {
    #[test]
    fn a_cut_file_is_no_result(part in 0.0..1.0) {
        let text = testing::result().to_json();
        let text = text.trim_end();
        let cut = (text.len() as f64 * part) as usize;
        let is_cut = matches!(read(&text[..cut]), Err(Error::Json { .. }));
        prop_assert!(is_cut);
    }

    #[test]
    fn changed_bytes_give_an_error_or_a_result_that_can_be_written(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = testing::result().to_json().into_bytes();
        for (index, byte) in changes {
            let place = index.index(bytes.len());
            bytes[place] = byte;
        }
        if let Ok(result) = BenchResult::from_json(&bytes, Path::new("r.json")) {
            prop_assert_eq!(read(&result.to_json()).unwrap(), result);
        }
    }

    #[test]
    fn bytes_of_any_kind_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = BenchResult::from_json(&bytes, Path::new("r.json"));
    }

    #[test]
    fn any_number_in_the_place_of_another_is_read_or_refused(
        index in any::<prop::sample::Index>(),
        number in prop_oneof![
            Just("-1"), Just("0"), Just("1e308"), Just("-1e308"), Just("18446744073709551615"),
            Just("1e999"), Just("null"), Just("[]"), Just("0.5"), Just("NaN"),
        ],
    ) {
        let text = serde_json::to_string(&testing::result()).unwrap();
        let starts: Vec<usize> = text.match_indices([':', ',', '[']).map(|(at, _)| at + 1)
            .filter(|at| text.as_bytes()[*at].is_ascii_digit()).collect();
        let start = starts[index.index(starts.len())];
        let length = text[start..].find([',', '}', ']']).unwrap();
        let changed = format!("{}{number}{}", &text[..start], &text[start + length..]);
        if let Ok(result) = read(&changed) {
            prop_assert_eq!(read(&result.to_json()).unwrap(), result);
        }
    }
}
