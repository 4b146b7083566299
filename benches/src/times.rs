//! Repeated measurements of one thing.

use std::time::{Duration, Instant};

/// Durations of the runs of one thing.
#[derive(Debug, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    /// Runs `action` and keeps how long it took.
    pub fn measure<T>(&mut self, action: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = action();
        self.0.push(start.elapsed());
        result
    }

    /// Keeps a duration that was measured elsewhere.
    pub fn push(&mut self, duration: Duration) {
        self.0.push(duration);
    }

    /// The middle one, in milliseconds; of an even number, the lower of the two. NaN without any.
    pub fn median_ms(&self) -> f64 {
        self.quantile_ms(0.5)
    }

    /// The smallest that a share of `quantile` (0 to 1) of all is not above, in milliseconds. NaN
    /// without any.
    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort();
        let rank = (quantile * sorted.len() as f64).ceil().max(1.0) as usize - 1;
        sorted.get(rank).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_measurements() {
        let mut times = Times::default();
        assert!(times.median_ms().is_nan());
        for milliseconds in [5, 1, 4, 2] {
            times.push(Duration::from_millis(milliseconds));
        }
        let close = |got: f64, want: f64| assert!((got - want).abs() < 1e-9, "{got} {want}");
        close(times.median_ms(), 2.0);
        close(times.quantile_ms(0.0), 1.0);
        close(times.quantile_ms(0.99), 5.0);
    }
}
