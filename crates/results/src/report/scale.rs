//! From numbers to places, and the numbers that stand at an axis.

/// An axis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    domain: [f64; 2],
    range: [f64; 2],
    logarithmic: bool,
}

impl Scale {
    /// From 0 to at least `most`, ending at a number that stands at the axis.
    pub(super) fn from_zero(most: f64, range: [f64; 2]) -> Scale {
        let most = if most > 0.0 { most } else { 1.0 };
        let step = step(most);
        let domain = [0.0, (most / step).ceil() * step];
        Scale { domain, range, logarithmic: false }
    }

    /// From `low` to `high`: by their ratio where that is large, otherwise by their difference.
    pub(super) fn between(low: f64, high: f64, range: [f64; 2]) -> Scale {
        let logarithmic = low > 0.0 && high / low > 8.0;
        let margin = if high > low { (high - low) * 0.04 } else { high.abs().max(1.0) * 0.1 };
        let domain = match logarithmic {
            true => [low / 1.1, high * 1.1],
            false => [(low - margin).max(0.0), high + margin],
        };
        Scale { domain, range, logarithmic }
    }

    /// Whether equal distances are equal ratios.
    pub(super) fn is_logarithmic(&self) -> bool {
        self.logarithmic
    }

    /// The place of a number.
    pub(super) fn at(&self, value: f64) -> f64 {
        let share = self.share(value).clamp(0.0, 1.0);
        self.range[0] + share * (self.range[1] - self.range[0])
    }

    /// How far along the axis a number is, from 0 to 1.
    pub(super) fn share(&self, value: f64) -> f64 {
        let [low, high] = self.domain;
        if self.logarithmic {
            (value.max(low) / low).ln() / (high / low).ln()
        } else {
            (value - low) / (high - low)
        }
    }

    /// Round numbers along the axis, about six.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let [low, high] = self.domain;
        if self.logarithmic {
            let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
            let wide = high / low > 1000.0;
            let digits: &[f64] = if wide { &[1.0] } else { &[1.0, 2.0, 5.0] };
            let ticks = decades.flat_map(|power| digits.iter().map(move |d| d * 10f64.powi(power)));
            return ticks.filter(|tick| (low..=high).contains(tick)).collect();
        }
        let step = step(high - low);
        let first = (low / step).ceil();
        let count = ((high / step) - first + 1e-9).floor().clamp(0.0, 20.0) as u32;
        (0..=count).map(|index| (first + f64::from(index)) * step).collect()
    }
}

/// The distance of round numbers of which a span has four to eight.
fn step(span: f64) -> f64 {
    let power = 10f64.powf(span.log10().floor());
    let steps = [0.1, 0.2, 0.5, 1.0].map(|digit| digit * power);
    steps.into_iter().find(|step| span / step <= 8.0).unwrap_or(power)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_axis_has_round_numbers() {
        assert_eq!(
            Scale::from_zero(431.0, [0.0, 1.0]).ticks(),
            [0.0, 100.0, 200.0, 300.0, 400.0, 500.0]
        );
        assert_eq!(
            Scale::between(10.0, 900.0, [0.0, 1.0]).ticks(),
            [10.0, 20.0, 50.0, 100.0, 200.0, 500.0]
        );
        let close = Scale::between(30.0, 30.0, [0.0, 1.0]);
        assert!(!close.is_logarithmic() && close.ticks().len() > 2);
    }

    proptest! {
        #[test]
        fn places_lie_on_the_axis(low in 0.0..1e15, more in 0.0..1e15, value in -1.0..2e15) {
            for scale in [Scale::between(low, low + more, [10.0, 90.0]), Scale::from_zero(more, [10.0, 90.0])] {
                prop_assert!((10.0..=90.0).contains(&scale.at(value)), "{:?}", scale);
                let ticks = scale.ticks();
                prop_assert!(ticks.len() < 25, "{:?}", ticks);
                prop_assert!(ticks.iter().all(|tick| tick.is_finite()));
            }
        }
    }
}
