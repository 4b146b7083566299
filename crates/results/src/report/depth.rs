//! Throughput over the context's depth, a line for each result.

use super::scale::Scale;
use super::svg::{Anchor, Svg, WIDTH};
use crate::schema::BenchResult;
use crate::statistics::Summary;

const LEFT: f64 = 52.0;
const TALL: f64 = 280.0;

/// How many times the slowest the fastest may be before equal distances become equal ratios: the
/// lines of slow devices would lie on the axis.
const MAX_LINEAR: f64 = 20.0;

/// Depths and what was measured at them, in their order.
type Points = Vec<(f64, Summary)>;

/// The lines; none where no result has tokens at a depth.
pub(super) fn plot(results: &[(String, BenchResult)], labels: &[String]) -> Option<String> {
    let lines: Vec<(usize, &str, Points)> = results
        .iter()
        .zip(labels)
        .enumerate()
        .map(|(index, ((_, result), label))| (index, label.as_str(), points(result)))
        .filter(|(_, _, points)| !points.is_empty())
        .collect();
    let all = || lines.iter().flat_map(|(_, _, points)| points);
    let top_of = |summary: &Summary| summary.interval.map_or(summary.mean, |[_, high]| high);
    let most =
        all().map(|(_, summary)| top_of(summary).min(summary.mean * 2.0)).reduce(f64::max)?;
    let deepest = all().map(|(depth, _)| *depth).reduce(f64::max)?;
    let mut svg = Svg::default();
    let entries =
        lines.iter().map(|(index, label, _)| (format!("s{}", index % super::SERIES), *label));
    let top = svg.legend(0.0, entries) + 8.0;
    let bottom = top + TALL;
    let across = Scale::from_zero(deepest, [LEFT, WIDTH - 16.0]);
    let least = all().map(|(_, summary)| summary.mean).reduce(f64::min)?;
    let up = match most / least > MAX_LINEAR {
        true => Scale::between(least, most, [bottom, top]),
        false => Scale::from_zero(most, [bottom, top]),
    };
    for tick in up.ticks() {
        let y = up.at(tick);
        svg.line([LEFT, y], [WIDTH, y], "grid");
        svg.text([LEFT - 8.0, y + 4.0], Anchor::End, "t dim", &super::tick(tick));
    }
    svg.line([LEFT, bottom], [WIDTH, bottom], "axis");
    let mut depths: Vec<f64> = all().map(|(depth, _)| *depth).collect();
    depths.sort_by(f64::total_cmp);
    depths.dedup();
    let mut free_from = 0.0;
    for depth in depths {
        let (x, label) = (across.at(depth), format!("{depth:.0}"));
        svg.line([x, bottom], [x, bottom + 4.0], "axis");
        let half = super::svg::text_width(&label) / 2.0 + 4.0;
        if x - half >= free_from {
            svg.text([x, bottom + 18.0], Anchor::Middle, "t dim", &label);
            free_from = x + half;
        }
    }
    svg.text([WIDTH, bottom + 36.0], Anchor::End, "t dim", "context depth, tokens");
    let unit = match up.is_logarithmic() {
        true => "vertical: tokens a second, logarithmic",
        false => "vertical: tokens a second",
    };
    svg.text([0.0, bottom + 36.0], Anchor::Start, "t dim", unit);
    for (index, label, points) in &lines {
        draw(&mut svg, index % super::SERIES, label, points, [&across, &up]);
    }
    Some(svg.finish(bottom + 44.0, "Tokens a second over the context's depth"))
}

/// A result's points.
fn points(result: &BenchResult) -> Points {
    let mut points: Points = result
        .generation
        .iter()
        .filter_map(|row| Some((row.depth_tokens as f64, Summary::of(&row.tokens_per_second())?)))
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

fn draw(
    svg: &mut Svg,
    series: usize,
    label: &str,
    points: &[(f64, Summary)],
    [across, up]: [&Scale; 2],
) {
    let place = |(depth, summary): &(f64, Summary)| [across.at(*depth), up.at(summary.mean)];
    let line: Vec<[f64; 2]> = points.iter().map(place).collect();
    svg.path(&line, false, &format!("line s{series}"));
    for (depth, summary) in points {
        let x = across.at(*depth);
        if let Some([low, high]) = summary.interval {
            let (low, high) = (up.at(low.max(0.0)), up.at(high));
            svg.line([x, low], [x, high], &format!("bar s{series}"));
            for y in [low, high] {
                svg.line([x - 4.0, y], [x + 4.0, y], &format!("bar s{series}"));
            }
        }
        let title = format!("{label}: {:.2} tokens a second at depth {depth:.0}", summary.mean);
        svg.dot([x, up.at(summary.mean)], &format!("s{series}"), &title);
    }
}
