//! The time to the first token by stage, a stacked bar for each result.

use super::scale::Scale;
use super::svg::{Anchor, Svg, WIDTH, shortened, text_width};
use crate::render::number::milliseconds;
use crate::schema::{BenchResult, FirstToken};
use crate::statistics::Summary;

/// Bars as long as the times; none where no result has answers.
pub(super) fn plot(results: &[(String, BenchResult)], labels: &[String]) -> Option<String> {
    drawn(results, labels, Length::Time)
}

/// Bars of one length: what is a sliver beside another result's seconds is seen.
pub(super) fn shares(results: &[(String, BenchResult)], labels: &[String]) -> Option<String> {
    drawn(results, labels, Length::Share)
}

/// What the length of a stage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    /// Its time, in nanoseconds.
    Time,
    /// Its percentage of the whole.
    Share,
}

impl Length {
    fn of(self, ns: f64, bar: &Bar) -> f64 {
        match self {
            Length::Time => ns,
            Length::Share => 100.0 * ns / bar.total,
        }
    }

    /// As it stands in the bar.
    fn words(self, ns: f64, bar: &Bar) -> String {
        match self {
            Length::Time => milliseconds(ns),
            Length::Share => format!("{:.0} %", self.of(ns, bar)),
        }
    }
}

fn drawn(results: &[(String, BenchResult)], labels: &[String], length: Length) -> Option<String> {
    let bars: Vec<(&String, Bar)> = labels
        .iter()
        .zip(results)
        .filter_map(|(label, (_, r))| Some((label, Bar::of(r)?)))
        .filter(|(_, bar)| bar.total > 0.0)
        .collect();
    let most = bars
        .iter()
        .map(|(_, bar)| length.of(bar.total, bar))
        .fold(None, |a: Option<f64>, b| Some(a.unwrap_or(b).max(b)))?;
    // Room for the total behind the longest bar.
    let scale = Scale::from_zero(most, [0.0, WIDTH - 90.0]);
    let mut svg = Svg::default();
    let names = FirstToken::default().parts().map(|(name, _)| name).into_iter().chain(["residual"]);
    let used = names.enumerate().filter(|(index, _)| {
        bars.iter().any(|(_, bar)| bar.stages.get(*index).is_some_and(|stage| stage.1 > 0.0))
    });
    let top = svg.legend(0.0, used.map(|(index, name)| (format!("stage{index}"), name))) + 6.0;
    let height = top + 50.0 * bars.len() as f64;
    for tick in scale.ticks() {
        let x = scale.at(tick);
        svg.line([x, top], [x, height], "grid");
        let anchor = if x < 10.0 { Anchor::Start } else { Anchor::Middle };
        let unit = if length == Length::Time { 1e6 } else { 1.0 };
        svg.text([x, height + 16.0], anchor, "t dim", &super::tick(tick / unit));
    }
    let (unit, title) = match length {
        Length::Time => ("milliseconds", "Time to the first token by stage, a bar for each result"),
        Length::Share => {
            ("percent", "Share of the time to the first token by stage, a bar for each result")
        }
    };
    svg.text([WIDTH, height + 32.0], Anchor::End, "t dim", unit);
    for (index, (label, bar)) in bars.iter().enumerate() {
        draw(&mut svg, top + 50.0 * index as f64, label, bar, (&scale, length));
    }
    Some(svg.finish(height + 40.0, title))
}

/// A result's means, in nanoseconds.
struct Bar {
    /// Each stage in its order, with the residual last.
    stages: Vec<(&'static str, f64)>,
    total: f64,
}

impl Bar {
    fn of(result: &BenchResult) -> Option<Bar> {
        let first: Vec<FirstToken> = result.answers.iter().map(|a| a.first_token).collect();
        let mean = |value: &dyn Fn(&FirstToken) -> f64| {
            Summary::of(&first.iter().map(value).collect::<Vec<_>>()).map(|summary| summary.mean)
        };
        let mut stages = Vec::new();
        for (index, (name, _)) in FirstToken::default().parts().into_iter().enumerate() {
            stages.push((name, mean(&|first| first.parts()[index].1.unwrap_or(0) as f64)?));
        }
        stages.push(("residual", mean(&FirstToken::residual_ns)?));
        Some(Bar { stages, total: mean(&|first| first.total_ns as f64)? })
    }
}

fn draw(svg: &mut Svg, y: f64, label: &str, bar: &Bar, (scale, length): (&Scale, Length)) {
    svg.text([0.0, y + 14.0], Anchor::Start, "t strong", &shortened(label, WIDTH * 0.9));
    let mut start = 0.0;
    for (index, (name, ns)) in bar.stages.iter().enumerate() {
        // Parts that are more than the whole leave a residual below nothing, which has no length.
        let end = start + length.of(ns.max(0.0), bar);
        let (from, to) = (scale.at(start), scale.at(end));
        if *ns > 0.0 {
            let percent = 100.0 * ns / bar.total;
            let title = format!("{name}: {} ms, {percent:.1} %", milliseconds(*ns));
            svg.rect([from, y + 20.0, to - from, 22.0], &format!("stage{index}"), &title);
            let inside = length.words(*ns, bar);
            if text_width(&inside) + 12.0 < to - from {
                let middle = f64::midpoint(from, to);
                svg.text([middle, y + 35.5], Anchor::Middle, &format!("t on{index}"), &inside);
            }
        }
        start = end;
    }
    let end = scale.at(start.max(length.of(bar.total, bar)));
    let total = format!("{} ms", milliseconds(bar.total));
    svg.text([end + 6.0, y + 35.5], Anchor::Start, "t strong", &total);
}
