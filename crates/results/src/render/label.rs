//! Short names of results.

use std::collections::{BTreeMap, BTreeSet};

use crate::schema::BenchResult;

/// What did the work: the device, the board or the processor.
pub(crate) fn device(result: &BenchResult) -> String {
    let environment = &result.environment;
    let device = environment.device.as_ref().map(|device| &device.name);
    let board = environment.board.as_ref().map(|board| &board.name);
    // On a Jetson the board says more than the name of its GPU, which all boards share.
    let name = board.filter(|_| device.is_some()).or(device);
    match (name, &environment.processor.name) {
        (Some(name), _) | (None, Some(name)) => name.clone(),
        (None, None) => environment.processor.architecture.clone(),
    }
}

/// The types of weights: one for all parts, or each part's.
pub(crate) fn precision(result: &BenchResult) -> String {
    let parts = &result.model.parts;
    let mut types: Vec<&str> = parts.values().map(|part| part.weights.as_str()).collect();
    types.sort_unstable();
    types.dedup();
    match types[..] {
        [] => String::new(),
        [one] => one.to_owned(),
        _ => {
            let each = parts.iter().map(|(name, part)| format!("{name} {}", part.weights));
            each.collect::<Vec<_>>().join(", ")
        }
    }
}

/// The most characters of a name within a label.
const MAX_NAME: usize = 60;

/// A label for each named result, no two alike: the device, and where that is the same, what differs,
/// at last the name.
pub(crate) fn labels(results: &[(String, BenchResult)]) -> Vec<String> {
    let name = |text: &str| text.chars().take(MAX_NAME).collect::<String>();
    let parts = |(file, result): &(String, BenchResult)| {
        let environment = &result.environment;
        [
            name(&device(result)),
            name(&result.model.name),
            result.model.target.clone(),
            name(&precision(result)),
            environment.power_mode.clone().unwrap_or_default(),
            environment.threads.map(|threads| format!("{threads} threads")).unwrap_or_default(),
            environment.build.commit.as_ref().map_or_else(String::new, |commit| short(commit)),
            name(file),
        ]
    };
    let all: Vec<_> = results.iter().map(parts).collect();
    let mut labels: Vec<String> = all.iter().map(|parts| parts[0].clone()).collect();
    for column in 1..8 {
        // Of results that are called alike so far, those that this tells apart are given it.
        let mut values: BTreeMap<String, BTreeSet<&String>> = BTreeMap::new();
        for (label, parts) in labels.iter().zip(&all) {
            values.entry(label.clone()).or_default().insert(&parts[column]);
        }
        for (label, parts) in labels.iter_mut().zip(&all) {
            let differ = values.get(label).is_some_and(|values| values.len() > 1);
            if differ && !parts[column].is_empty() {
                *label += &format!(", {}", parts[column]);
            }
        }
    }
    let counts = counts(&labels);
    let alike = |(index, label): (usize, &String)| match counts.get(label) {
        Some(1) => label.clone(),
        _ => format!("{label} #{}", index + 1),
    };
    labels.iter().enumerate().map(alike).collect()
}

fn counts(labels: &[String]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for label in labels {
        *counts.entry(label.clone()).or_default() += 1;
    }
    counts
}

/// The first characters of a hash.
pub(crate) fn short(hash: &str) -> String {
    hash.chars().take(10).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn labels_tell_what_differs_and_no_two_are_alike() {
        let mut results: Vec<(String, BenchResult)> =
            ["a", "b", "c", "d", "d"].map(|name| (name.to_owned(), testing::result())).into();
        results[0].1.environment.board = None;
        results[1].1.environment.power_mode = Some("15W".to_owned());
        let board = "NVIDIA Jetson Orin Nano Developer Kit";
        assert_eq!(
            labels(&results),
            [
                "Orin".to_owned(),
                format!("{board}, 15W"),
                format!("{board}, 25W, c"),
                format!("{board}, 25W, d #4"),
                format!("{board}, 25W, d #5"),
            ]
        );
        assert_eq!(labels(&results[..1]), ["Orin"]);
        assert!(labels(&[]).is_empty());
    }

    #[test]
    fn without_a_device_the_processor_gives_the_name() {
        let mut result = testing::result();
        result.environment.device = None;
        result.environment.board = None;
        assert_eq!(device(&result), "Cortex-A78AE");
        result.environment.processor.name = None;
        assert_eq!(device(&result), "aarch64");
    }
}
