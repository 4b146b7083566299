//! Power over time.

use std::time::Duration;

/// Energy in joules under samples of power in watts, with straight lines between them.
pub(super) fn of(samples: &[(Duration, f64)]) -> f64 {
    let trapezoid = |pair: &[(Duration, f64)]| {
        let [(start, first), (end, second)] = pair else { return 0.0 };
        end.saturating_sub(*start).as_secs_f64() * (first + second) / 2.0
    };
    samples.windows(2).map(trapezoid).fold(0.0, |sum, part| sum + part)
}

/// From the first sample to the last.
pub(super) fn span(samples: &[(Duration, f64)]) -> Duration {
    match (samples.first(), samples.last()) {
        (Some((start, _)), Some((end, _))) => end.saturating_sub(*start),
        _ => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64, watts: f64) -> (Duration, f64) {
        (Duration::from_millis(milliseconds), watts)
    }

    #[test]
    fn lines_between_samples_are_summed_exactly_whatever_their_distance() {
        // Power rises by 2 W a second from 1 W: the integral over 3 s is 1 * 3 + 2 * 9 / 2.
        let ramp: Vec<_> =
            [0, 100, 1_300, 1_301, 3_000].map(|ms| at(ms, 1.0 + 2.0 * ms as f64 / 1_000.0)).into();
        assert!((of(&ramp) - 12.0).abs() < 1e-9);
        assert_eq!(span(&ramp), Duration::from_secs(3));
    }

    #[test]
    fn fewer_than_two_samples_have_no_time_and_no_energy() {
        assert_eq!((of(&[]), span(&[])), (0.0, Duration::ZERO));
        assert_eq!((of(&[at(5, 9.0)]), span(&[at(5, 9.0)])), (0.0, Duration::ZERO));
    }
}
