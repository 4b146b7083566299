//! Names and numbers of metrics, with their units, for people.

use super::number::{bytes, milliseconds, number, unit_of_bytes, with_deviation};
use crate::metric::Unit;
use crate::statistics::Summary;

/// A metric's name for people.
pub(crate) fn metric_name(key: &str) -> String {
    key.replace(['.', '_'], " ")
}

/// A number in its metric's unit, for people.
pub(crate) fn in_unit(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Nanoseconds => format!("{} ms", milliseconds(value)),
        Unit::TokensPerSecond => format!("{value:.2} t/s"),
        Unit::Bytes => bytes(value),
        Unit::Joules => format!("{} J", number(value)),
        Unit::Watts => format!("{} W", number(value)),
    }
}

/// `12.34 ± 0.12 ms`; the mean alone for one sample.
pub(crate) fn summary_in_unit(unit: Unit, summary: &Summary) -> String {
    let Some(deviation) = summary.standard_deviation else { return in_unit(unit, summary.mean) };
    let mean = summary.mean;
    match unit {
        Unit::Nanoseconds => format!("{} ms", with_deviation(mean / 1e6, deviation / 1e6)),
        Unit::TokensPerSecond => format!("{mean:.2} ± {deviation:.2} t/s"),
        Unit::Bytes => {
            let (name, size) = unit_of_bytes(mean);
            format!("{} {name}", with_deviation(mean / size, deviation / size))
        }
        Unit::Joules => format!("{} J", with_deviation(mean, deviation)),
        Unit::Watts => format!("{} W", with_deviation(mean, deviation)),
    }
}

/// `12.34 ± 0.12`, each sample divided by `unit`; the mean alone for one sample.
pub(crate) fn mean_and_deviation(summary: &Summary, unit: f64) -> String {
    match summary.standard_deviation {
        Some(deviation) => with_deviation(summary.mean / unit, deviation / unit),
        None => number(summary.mean / unit),
    }
}
