//! Floating-point operations: a multiplication and an addition are two. Matrix products and
//! attention are counted; norms, activations and softmax are not.

use crate::sizes::{Experts, ModelSizes};

/// Operations of an MLP or a mixture of experts on a token: `weights` numbers in its matrices,
/// times the experts that the token is sent to, and the router's.
fn feed_forward(weights: u128, inputs: u128, moe: Option<Experts>) -> f64 {
    let (chosen, gate) = moe.map_or((1, 0), |moe| (moe.chosen, moe.all * inputs));
    2.0 * (weights * chosen + gate) as f64
}

/// Operations of the vision tower on an image, all crops of all scales.
pub(crate) fn vision(sizes: &ModelSizes) -> f64 {
    let tower = &sizes.tower;
    let (h, positions) = (tower.hidden, tower.positions as f64);
    let patches = 2.0 * (positions - 1.0) * (tower.patch * h) as f64;
    let projections = 2.0 * positions * (4 * h * h) as f64;
    let attention = 4.0 * positions * positions * h as f64;
    let mlp = positions * feed_forward(2 * h * tower.inner, h, tower.moe);
    let layers = tower.layers as f64 * (projections + attention + mlp);
    tower.crops as f64 * (patches + layers)
}

/// Operations of the connector on an image.
pub(crate) fn connector(sizes: &ModelSizes) -> f64 {
    let connector = &sizes.connector;
    let (input, h) = (connector.input, connector.hidden);
    let weights = input * h + (connector.layers - 1) * h * h;
    connector.tokens as f64 * feed_forward(weights, input, connector.moe)
}

/// Operations of the LLM on `positions` new positions behind `depth` others, and of its head on the
/// last one.
pub(crate) fn llm(sizes: &ModelSizes, positions: u64, depth: u64) -> f64 {
    let llm = &sizes.llm;
    let h = llm.hidden;
    let projections = 2.0 * (2 * h * (llm.query + llm.key)) as f64;
    let mlp = feed_forward(3 * h * llm.inner, h, llm.moe);
    let attention = 4.0 * llm.query as f64 * attended(sizes, positions, depth);
    let layers = llm.layers as f64 * (positions as f64 * (projections + mlp) + attention);
    layers + 2.0 * (llm.vocab * h) as f64
}

/// Positions that `positions` new ones behind `depth` others look at, summed: each at itself, those
/// before it, and no more than the window.
fn attended(sizes: &ModelSizes, positions: u64, depth: u64) -> f64 {
    let (new, depth) = (positions as f64, depth as f64);
    let all = new * depth + new * (new + 1.0) / 2.0;
    let Some(window) = sizes.llm.window else { return all };
    let window = window as f64;
    // Position i of the new ones looks at depth + i + 1, or at the window.
    let within = (window - depth).clamp(0.0, new);
    within * depth + within * (within + 1.0) / 2.0 + (new - within) * window
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::mistral_7b;

    #[test]
    fn positions_look_back_as_far_as_the_window() {
        let mut sizes = mistral_7b();
        let by_hand = |window: u64, new: u64, depth: u64| -> f64 {
            (0..new).map(|i| (depth + i + 1).min(window) as f64).sum()
        };
        assert_eq!(attended(&sizes, 5, 3), by_hand(u64::MAX, 5, 3));
        for (window, new, depth) in [(1, 4, 0), (4, 9, 2), (4, 9, 7), (100, 9, 7)] {
            sizes.llm.window = Some(u128::from(window));
            assert_eq!(attended(&sizes, new, depth), by_hand(window, new, depth));
        }
    }

    #[test]
    fn a_dense_token_takes_two_operations_a_weight() {
        let sizes = mistral_7b();
        // 7.24e9 parameters without the embedding's 131e6, which is looked up, and the norms.
        let weights = 7_241_732_096_f64 - 131_072_000.0 - 65.0 * 4096.0;
        let attention = 32.0 * 4.0 * 4096.0;
        assert_eq!(llm(&sizes, 1, 0), 2.0 * weights + attention);
    }

    #[test]
    fn the_tower_takes_the_work_of_the_experts_that_are_chosen() {
        let mut sizes = mistral_7b();
        let moe = vision(&sizes);
        sizes.tower.moe = None;
        let dense = vision(&sizes);
        let mlp = 10.0 * 23.0 * 577.0 * 2.0 * 2.0 * 1024.0 * 4096.0;
        let gate = 10.0 * 23.0 * 577.0 * 2.0 * 4.0 * 1024.0;
        assert_eq!(moe - dense, mlp + gate);
    }
}
