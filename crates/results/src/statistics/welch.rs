//! The difference of two means.

use super::{CONFIDENCE, Moments, student_t_cdf, student_t_quantile};

/// The difference of the means of two groups of samples, by Welch's t: the groups may differ in
/// size and spread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Welch {
    /// Mean of the second group less that of the first.
    pub difference: f64,
    /// The 95 % interval of the difference.
    pub interval: [f64; 2],
    /// The probability of a difference at least as large, in either direction, if both groups had
    /// the same mean.
    pub p_value: f64,
}

impl Welch {
    /// The difference of `second` from `first`; none where one has fewer than two samples.
    pub fn of(first: &[f64], second: &[f64]) -> Option<Welch> {
        let (a, b) = (Moments::of(first), Moments::of(second));
        let (a_part, b_part) = (a.variance? / a.count as f64, b.variance? / b.count as f64);
        let difference = b.mean - a.mean;
        let variance = a_part + b_part;
        if variance <= 0.0 {
            // Nothing varies: what differs, differs.
            let p_value = if difference == 0.0 { 1.0 } else { 0.0 };
            return Some(Welch { difference, interval: [difference; 2], p_value });
        }
        let weighed = |part: f64, count: usize| (part / variance).powi(2) / (count as f64 - 1.0);
        let freedom = 1.0 / (weighed(a_part, a.count) + weighed(b_part, b.count));
        let error = variance.sqrt();
        let half = student_t_quantile(0.5 + CONFIDENCE / 2.0, freedom) * error;
        Some(Welch {
            difference,
            interval: [difference - half, difference + half],
            p_value: 2.0 * student_t_cdf(-(difference / error).abs(), freedom),
        })
    }
}
