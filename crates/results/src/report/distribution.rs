//! The distribution of the time from token to token: a histogram for each result and depth, one
//! below the other over one axis.

use super::scale::Scale;
use super::svg::{Anchor, Svg, WIDTH, shortened};
use crate::metric::test_name;
use crate::render::number::milliseconds;
use crate::schema::BenchResult;
use crate::statistics::Summary;

const BINS: usize = 120;
const ROW: f64 = 74.0;

/// Room for a result's name beside its numbers.
const NAME: f64 = 340.0;

/// The histograms; none where no result has the times of tokens.
pub(super) fn plot(results: &[(String, BenchResult)], labels: &[String]) -> Option<String> {
    let mut rows = Vec::new();
    for (index, ((_, result), label)) in results.iter().zip(labels).enumerate() {
        for generation in &result.generation {
            let samples = generation.inter_token_ns();
            let name = test_name("tg", generation.tokens, generation.depth_tokens);
            if let Some(summary) = Summary::of(&samples) {
                rows.push((index, format!("{}, {name}", shortened(label, NAME)), samples, summary));
            }
        }
    }
    let extreme = |value: fn(&Summary) -> f64, better: fn(f64, f64) -> f64| {
        rows.iter().map(|(_, _, _, summary)| value(summary)).reduce(better)
    };
    let (low, high) = (extreme(|s| s.min, f64::min)?, extreme(|s| s.max, f64::max)?);
    let scale = Scale::between(low, high, [0.0, WIDTH]);
    let mut svg = Svg::default();
    let height = ROW * rows.len() as f64;
    for tick in scale.ticks() {
        let x = scale.at(tick);
        svg.line([x, 0.0], [x, height], "grid");
        let anchor = if x > WIDTH - 20.0 {
            Anchor::End
        } else if x < 20.0 {
            Anchor::Start
        } else {
            Anchor::Middle
        };
        svg.text([x, height + 16.0], anchor, "t dim", &super::tick(tick / 1e6));
    }
    let axis = if scale.is_logarithmic() {
        "milliseconds a token, logarithmic"
    } else {
        "milliseconds a token"
    };
    svg.text([WIDTH, height + 32.0], Anchor::End, "t dim", axis);
    for (place, (series, name, samples, summary)) in rows.iter().enumerate() {
        let series = series % super::SERIES;
        draw(&mut svg, ROW * (place + 1) as f64, (series, name), samples, summary, &scale);
    }
    Some(svg.finish(height + 40.0, "Distribution of the time from token to token"))
}

/// One histogram that stands on `bottom`.
fn draw(
    svg: &mut Svg,
    bottom: f64,
    (series, name): (usize, &str),
    samples: &[f64],
    summary: &Summary,
    scale: &Scale,
) {
    let mut bins = [0_u32; BINS];
    for sample in samples {
        let bin = (scale.share(*sample).clamp(0.0, 1.0) * BINS as f64) as usize;
        bins[bin.min(BINS - 1)] += 1;
    }
    let most = bins.iter().max().copied().unwrap_or(1).max(1);
    let width = WIDTH / BINS as f64;
    let tall = ROW - 26.0;
    let mut outline = vec![[0.0, bottom]];
    for (bin, count) in bins.iter().enumerate() {
        let y = bottom - tall * f64::from(*count) / f64::from(most);
        outline.push([bin as f64 * width, y]);
        outline.push([(bin + 1) as f64 * width, y]);
    }
    outline.push([WIDTH, bottom]);
    svg.path(&outline, true, &format!("area s{series}"));
    svg.line([0.0, bottom], [WIDTH, bottom], "axis");
    for (value, class) in [(summary.p50, "mark"), (summary.p99, "mark dashed")] {
        let x = scale.at(value);
        svg.line([x, bottom - tall], [x, bottom], class);
    }
    svg.text([0.0, bottom - ROW + 16.0], Anchor::Start, "t strong halo", name);
    let [p50, p99, max] = [summary.p50, summary.p99, summary.max].map(milliseconds);
    let numbers = format!("p50 {p50}   p99 {p99}   max {max} ms   n {}", summary.count);
    svg.text([WIDTH, bottom - ROW + 16.0], Anchor::End, "t halo", &numbers);
}
