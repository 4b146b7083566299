//! What was asked for and what came out: arguments, figures, aims.

use std::fmt;

use anyhow::{Context, Result, bail};
use cumo_export::moe::MoeShape;

use super::flops;

/// The rows that the aims are for: one image at scales 1 and 3, ten crops of 577 tokens.
const AIMED_AT: usize = 5770;

/// What was typed.
#[derive(Debug, Clone, PartialEq)]
pub struct Arguments {
    /// Rows of x.
    pub rows: usize,
    /// Timed runs.
    pub runs: usize,
    /// The card's f16 rate, if it is known.
    pub tensor_tflops: Option<f64>,
}

impl Arguments {
    /// Reads them.
    ///
    /// # Errors
    /// An unknown option, or a value that is no number above 0.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut arguments = Arguments { rows: AIMED_AT, runs: 30, tensor_tflops: None };
        while let Some(word) = words.next() {
            let value = words.next().with_context(|| format!("{word} needs a number"))?;
            let whole = || match value.parse::<usize>() {
                Ok(number) if (1..=1 << 20).contains(&number) => Ok(number),
                _ => bail!("{word}: `{value}` is not 1 to {}", 1 << 20),
            };
            match word.as_str() {
                "--rows" => arguments.rows = whole()?,
                "--runs" => arguments.runs = whole()?,
                "--tensor-tflops" => {
                    let rate = value.parse().ok().filter(|rate: &f64| *rate > 0.0);
                    let rate = rate.filter(|rate| rate.is_finite());
                    arguments.tensor_tflops =
                        Some(rate.with_context(|| format!("{word}: `{value}` is no rate"))?);
                }
                _ => bail!("{word} is none of --rows, --runs, --tensor-tflops"),
            }
        }
        Ok(arguments)
    }
}

/// The times of both forms, and what follows from them.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// Median of the plugin's engine, in milliseconds.
    pub plugin_ms: f64,
    /// Median of the dense engine, in milliseconds.
    pub dense_ms: f64,
    /// 10^12 floating-point operations a second of the plugin's engine, of the chosen experts.
    pub tflops: f64,
    /// These over the card's, where that is known.
    pub share: Option<f64>,
}

impl Figures {
    /// From the medians of the plugin and the dense form.
    pub fn new(shape: &MoeShape, rows: usize, medians: [f64; 2], rate: Option<f64>) -> Self {
        let [plugin_ms, dense_ms] = medians;
        let tflops = flops(shape, rows) / plugin_ms * 1e-9;
        Figures { plugin_ms, dense_ms, tflops, share: rate.map(|rate| tflops / rate) }
    }

    /// The plugin's time over the dense form's.
    pub fn ratio(&self) -> f64 {
        self.plugin_ms / self.dense_ms
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures { plugin_ms, dense_ms, tflops, share } = self;
        write!(f, "plugin {plugin_ms:.4} ms, {tflops:.1} TFLOP/s")?;
        match share {
            Some(share) => write!(f, ", {:.1} % of the card's", 100.0 * share)?,
            None => write!(f, ", the card's rate is not known")?,
        }
        write!(f, "; dense {dense_ms:.4} ms, ratio {:.2}", self.ratio())
    }
}

/// How fast it is to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Aims {
    /// The most of the dense form's time, and the least share of the card's rate; none: it is
    /// measured only.
    speed: Option<(f64, f64)>,
}

impl Aims {
    /// The aims for so many rows.
    pub fn of(rows: usize) -> Self {
        Aims { speed: (rows == AIMED_AT).then_some((0.6, 0.6)) }
    }

    /// What is not as it is to be: the results' `difference` against `limit`, and the times.
    pub fn faults(&self, figures: &Figures, difference: f64, limit: f64) -> Vec<String> {
        // Each names what holds, so that NaN does not.
        let is_right = difference <= limit;
        let mut faults = Vec::new();
        if !is_right {
            faults
                .push(format!("the results differ by {difference:.1e}, the limit is {limit:.1e}"));
        }
        let Some((most, least)) = self.speed else { return faults };
        let (ratio, share) = (figures.ratio(), figures.share);
        let is_faster = ratio <= most;
        if !is_faster {
            faults.push(format!("the plugin takes {ratio:.2} of the dense form, aimed at {most}"));
        }
        let is_busy = share.is_none_or(|share| share >= least);
        if !is_busy {
            let percent = 100.0 * share.unwrap_or(f64::NAN);
            let aim = 100.0 * least;
            faults.push(format!("{percent:.1} % of the card's rate, aimed at {aim:.0} %"));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cumo_onnx::DType;

    const SHAPE: MoeShape = crate::clip_l(DType::F16);

    fn parse(text: &str) -> Result<Arguments> {
        Arguments::parse(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn arguments_have_defaults_and_refusals() {
        let all = Arguments { rows: 5770, runs: 30, tensor_tflops: None };
        assert_eq!(parse("").unwrap(), all);
        let given = Arguments { rows: 577, runs: 3, tensor_tflops: Some(64.5) };
        assert_eq!(parse("--rows 577 --tensor-tflops 64.5 --runs 3").unwrap(), given);
        let refused = |text| parse(text).unwrap_err().to_string();
        assert_eq!(refused("--rows"), "--rows needs a number");
        assert_eq!(refused("--rows 0"), "--rows: `0` is not 1 to 1048576");
        assert_eq!(refused("--tensor-tflops NaN"), "--tensor-tflops: `NaN` is no rate");
        assert_eq!(refused("--row 1"), "--row is none of --rows, --runs, --tensor-tflops");
    }

    #[test]
    fn figures_say_time_rate_share_and_ratio() {
        let figures = Figures::new(&SHAPE, 5770, [1.0, 2.0], Some(312.0));
        let text =
            "plugin 1.0000 ms, 193.6 TFLOP/s, 62.1 % of the card's; dense 2.0000 ms, ratio 0.50";
        assert_eq!(figures.to_string(), text);
        let unknown = Figures::new(&SHAPE, 5770, [1.0, 2.0], None).to_string();
        assert!(unknown.contains("the card's rate is not known"), "{unknown}");
    }

    #[test]
    fn what_is_beyond_the_aims_is_named() {
        let faults = |medians, rate, difference| {
            let figures = Figures::new(&SHAPE, 5770, medians, rate);
            Aims::of(5770).faults(&figures, difference, 0.02)
        };
        assert_eq!(faults([1.0, 2.0], Some(312.0), 0.001), [""; 0]);
        assert_eq!(faults([1.0, 2.0], None, 0.001), [""; 0]);
        let slow = [
            "the plugin takes 0.75 of the dense form, aimed at 0.6",
            "41.4 % of the card's rate, aimed at 60 %",
        ];
        assert_eq!(faults([1.5, 2.0], Some(312.0), 0.001), slow);
        assert_eq!(
            faults([1.0, 2.0], None, 0.1),
            ["the results differ by 1.0e-1, the limit is 2.0e-2"]
        );
        assert_eq!(faults([f64::NAN, 2.0], None, f64::NAN).len(), 2);
        let figures = Figures::new(&SHAPE, 577, [1.5, 2.0], Some(312.0));
        assert_eq!(Aims::of(577).faults(&figures, 0.0, 0.02), [""; 0]);
    }
}
