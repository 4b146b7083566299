//! Comparing with a reference, within the tolerance of the number format.

use std::fs;

use cumo_runtime::HostTensor;
use serde::Deserialize;

/// The largest error of each number format, as a part of the reference's largest value
/// (`tests/tolerances.json`).
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Tolerances {
    /// Single precision.
    pub f32: f64,
    /// Half precision.
    pub f16: f64,
}

impl Tolerances {
    /// Reads the table.
    pub fn read() -> Tolerances {
        let path = crate::folder().join("tolerances.json");
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    }
}

/// Where two tensors differ most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// The largest error over the largest reference; NaN where any value is.
    pub ratio: f64,
    /// Where the largest error is.
    pub index: usize,
    /// What was computed there.
    pub got: f32,
    /// What the reference has there.
    pub want: f32,
}

impl Comparison {
    /// Compares element by element; the shapes must be equal.
    pub fn of(got: &HostTensor, want: &HostTensor) -> Comparison {
        assert_eq!(got.shape, want.shape);
        assert_eq!(got.values.len(), want.values.len());
        let largest = want.values.iter().map(|v| f64::from(v.abs())).fold(0.0, f64::max);
        let error = |(index, (got, want)): (usize, (&f32, &f32))| {
            let ratio = (f64::from(*got) - f64::from(*want)).abs() / largest;
            Comparison { ratio, index, got: *got, want: *want }
        };
        let worse = |a: Comparison, b: Comparison| {
            if a.ratio.is_nan() || a.ratio >= b.ratio { a } else { b }
        };
        let pairs = got.values.iter().zip(&want.values).enumerate();
        pairs.map(error).reduce(worse).expect("a tensor has elements")
    }

    /// Panics, saying what and where, unless the error is within `limit`. NaN is not.
    pub fn assert_within(self, limit: f64, stage: &str) {
        let Comparison { ratio, index, got, want } = self;
        assert!(
            ratio <= limit,
            "{stage}: at {index} {got}, not {want}: {ratio:.2e} of the largest value, limit {limit:.0e}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(values: &[f32]) -> HostTensor {
        HostTensor { shape: vec![values.len()], values: values.to_vec() }
    }

    #[test]
    fn the_largest_error_is_found_and_measured_against_the_largest_reference() {
        let found = Comparison::of(&tensor(&[1.0, -4.1, 2.0]), &tensor(&[1.0, -4.0, 2.05]));
        assert_eq!(found.index, 1);
        assert!((found.ratio - 0.025).abs() < 1e-6);
    }

    #[test]
    fn not_a_number_is_never_within() {
        for (got, want) in [([f32::NAN, 1.0], [0.0, 1.0]), ([0.0, 1.0], [0.0, f32::NAN])] {
            let found = Comparison::of(&tensor(&got), &tensor(&want));
            assert!(std::panic::catch_unwind(|| found.assert_within(1e9, "x")).is_err());
        }
    }
}
