//! Mean, spread, interval and percentiles of samples.

mod percentile;
mod student_t;
mod welch;

use serde::Serialize;

pub use percentile::percentile;
pub use student_t::{student_t_cdf, student_t_quantile};
pub use welch::Welch;

/// The share of intervals that hold the true mean.
pub const CONFIDENCE: f64 = 0.95;

/// Samples in a few numbers, in the samples' unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// How many samples there are, at least one.
    pub count: usize,
    /// Their mean.
    pub mean: f64,
    /// Their sample standard deviation (divided by `count - 1`); none for one sample.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standard_deviation: Option<f64>,
    /// The 95 % interval of the mean by Student's t, low and high end; none for one sample.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<[f64; 2]>,
    /// The smallest.
    pub min: f64,
    /// The 50th percentile.
    pub p50: f64,
    /// The 90th percentile.
    pub p90: f64,
    /// The 95th percentile.
    pub p95: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

impl Summary {
    /// The summary of samples; none where there are none, or where one is not a finite number.
    pub fn of(samples: &[f64]) -> Option<Summary> {
        if samples.is_empty() || !samples.iter().all(|sample| sample.is_finite()) {
            return None;
        }
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let Moments { count, mean, variance } = Moments::of(samples);
        let half = variance.map(|variance| {
            let t = student_t_quantile(0.5 + CONFIDENCE / 2.0, count as f64 - 1.0);
            t * (variance / count as f64).sqrt()
        });
        Some(Summary {
            count,
            mean,
            standard_deviation: variance.map(f64::sqrt),
            interval: half.map(|half| [mean - half, mean + half]),
            min: percentile(&sorted, 0.0)?,
            p50: percentile(&sorted, 50.0)?,
            p90: percentile(&sorted, 90.0)?,
            p95: percentile(&sorted, 95.0)?,
            p99: percentile(&sorted, 99.0)?,
            max: percentile(&sorted, 100.0)?,
        })
    }
}

/// Count, mean and variance.
#[derive(Debug, Clone, Copy)]
struct Moments {
    count: usize,
    mean: f64,
    /// The sample variance; none for fewer than two samples.
    variance: Option<f64>,
}

impl Moments {
    /// In two passes, which loses no digits where the mean is large and the spread small: the second
    /// one mends the mean by what is left over of the differences from it.
    fn of(samples: &[f64]) -> Moments {
        let count = samples.len();
        let running =
            |mean: f64, (index, sample): (usize, &f64)| mean + (sample - mean) / (index + 1) as f64;
        let rough = samples.iter().enumerate().fold(0.0, running);
        let differences = samples.iter().map(|sample| sample - rough);
        let left_over: f64 = differences.clone().sum();
        let squares: f64 = differences.map(|difference| difference * difference).sum();
        let squares = (squares - left_over * left_over / count.max(1) as f64).max(0.0);
        Moments {
            count,
            mean: rough + left_over / count.max(1) as f64,
            variance: (count > 1).then(|| squares / (count - 1) as f64),
        }
    }
}

#[cfg(test)]
mod tests;
