//! How the routers share tokens among experts: a map for each part, layers across, experts down.

use super::svg::{Anchor, Svg, WIDTH};
use crate::schema::{BenchResult, ExpertLoad};

const LEFT: f64 = 120.0;
const CELL: f64 = 20.0;

/// The maps of one result; none where its routers were not counted.
pub(super) fn plot(result: &BenchResult) -> Option<String> {
    let mut parts: Vec<(&str, Vec<&ExpertLoad>)> = Vec::new();
    for load in &result.expert_load {
        match parts.iter_mut().find(|(part, _)| *part == load.part) {
            Some((_, loads)) => loads.push(load),
            None => parts.push((&load.part, vec![load])),
        }
    }
    if parts.is_empty() {
        return None;
    }
    let mut svg = Svg::default();
    let mut y = 0.0;
    for (part, loads) in &parts {
        y = draw(&mut svg, y, part, loads);
    }
    Some(svg.finish(y, "Share of tokens that each expert was sent, by layer"))
}

/// One part's map; gives the place below it.
fn draw(svg: &mut Svg, y: f64, part: &str, loads: &[&ExpertLoad]) -> f64 {
    let experts = loads.iter().map(|load| load.tokens_per_expert.len()).max().unwrap_or(0);
    let wide = ((WIDTH - LEFT) / loads.len() as f64).min(30.0);
    let share = |load: &ExpertLoad, tokens: u64| {
        let all: f64 = load.tokens_per_expert.iter().map(|tokens| *tokens as f64).sum();
        tokens as f64 / all.max(1.0)
    };
    svg.text([0.0, y + 14.0], Anchor::Start, "t strong", part);
    for expert in 0..experts {
        let middle = y + CELL * expert as f64 + 14.0;
        svg.text([LEFT - 8.0, middle], Anchor::End, "t dim", &format!("expert {expert}"));
    }
    for (column, load) in loads.iter().enumerate() {
        for (expert, tokens) in load.tokens_per_expert.iter().enumerate() {
            let share = share(load, *tokens);
            let place = [LEFT + wide * column as f64, y + CELL * expert as f64];
            let title = format!(
                "{part}, layer {}, expert {expert}: {tokens} tokens, {:.1} %",
                load.layer,
                100.0 * share
            );
            // Full colour at twice the even share.
            let even = 1.0 / load.tokens_per_expert.len() as f64;
            let area = [place[0], place[1], (wide - 1.0).max(0.5), CELL - 1.0];
            svg.shade(area, share / (2.0 * even), &title);
        }
    }
    let below = y + CELL * experts as f64;
    let mut free_from = 0.0;
    for (column, load) in loads.iter().enumerate() {
        let label = load.layer.to_string();
        let middle = LEFT + wide * (column as f64 + 0.5);
        let half = super::svg::text_width(&label) / 2.0 + 3.0;
        if middle - half >= free_from {
            svg.text([middle, below + 14.0], Anchor::Middle, "t dim", &label);
            free_from = middle + half;
        }
    }
    svg.text([LEFT - 8.0, below + 14.0], Anchor::End, "t dim", "layer");
    below + 34.0
}
