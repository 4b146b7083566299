//! The memory that a model takes while it runs.

use cumo_bundle::{CacheUpdate, Dtype, Target};

use crate::precision::Precision;
use crate::sizes::{Experts, ModelSizes};
use crate::weights::Part;

/// What a run has to hold at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    /// Positions that the cache has room for.
    pub(crate) context: u128,
    /// Images that are encoded in one call.
    pub(crate) images: u128,
    /// Positions of the longest pass, images and text.
    pub(crate) pass: u128,
}

/// Bytes that the cache keeps of a position, of all layers: keys and values, and where a step
/// writes a new cache beside the old one, both.
pub(crate) fn cache_position(precision: Precision, sizes: &ModelSizes) -> u128 {
    let copies = match precision.cache_update(sizes) {
        CacheUpdate::Append => 2,
        CacheUpdate::InPlace | CacheUpdate::Rows => 1,
    };
    copies * key_value_position(precision, sizes)
}

/// Bytes of a position's keys and values, of all layers.
pub(crate) fn key_value_position(precision: Precision, sizes: &ModelSizes) -> u128 {
    let dtype = precision.products(Part::Llm, sizes);
    2 * sizes.llm.layers * sizes.llm.key * dtype.size() as u128
}

/// Bytes of activations: an estimate. What goes from step to step is counted by its shapes. Within
/// a layer the larger of attention and MLP is counted, with every tensor of it held at once. For
/// prompts in `tensorrt-10.3` graphs the scores are counted as TensorRT-RTX's builder does. A runtime
/// has memory of its own that is not counted.
pub(crate) fn activations(precision: Precision, sizes: &ModelSizes, run: &Run) -> u128 {
    // Images are done when the language model begins; the block that both use is counted once.
    let within = vision_layer(precision, sizes, run).max(llm_layer(precision, sizes, run));
    within.max(connector(precision, sizes, run)) + between_steps(precision, sizes, run)
}

fn bytes(dtype: Dtype) -> u128 {
    dtype.size() as u128
}

/// Tensors with names of their own, from step to step.
fn between_steps(precision: Precision, sizes: &ModelSizes, run: &Run) -> u128 {
    let ModelSizes { tower, connector, llm, .. } = sizes;
    let single = bytes(Dtype::F32);
    let crops = run.images * tower.crops * tower.positions * tower.hidden * single;
    let states = run.pass * llm.hidden * single;
    let embeds = bytes(precision.between(Part::Llm, sizes));
    let features = run.images * connector.tokens * connector.input * single;
    let image_embeds = run.images * connector.tokens * connector.hidden * embeds;
    // Engines give the last position's logits, other graphs all of them.
    let rows = if precision.is_for_engines() { 1 } else { run.pass };
    let logits = rows * llm.vocab * single;
    let mask = match precision.target {
        // One of the whole cache and one of the new positions.
        Target::Tensorrt103 => run.pass * (run.context + run.pass) * single,
        _ => run.pass * run.context.min(run.pass.next_power_of_two().max(512)) * 2,
    };
    run.images * tower.pixels * single
        + 2 * crops.max(states)
        + features
        + image_embeds
        + run.pass * llm.hidden * embeds
        + logits
        + mask
}

/// What a layer's attention and MLP are made of.
struct Layer {
    rows: u128,
    hidden: u128,
    inner: u128,
    gated: bool,
    moe: Option<Experts>,
    /// Channels of queries, keys and values together, and of the mixture of values.
    projected: u128,
    /// Bytes of all heads' scores, as often as they are held.
    scores: u128,
    products: u128,
    between: u128,
}

impl Layer {
    fn bytes(&self) -> u128 {
        let Layer { rows, hidden, inner, products, between, .. } = self;
        let normed = rows * hidden * (products + between);
        let attention = rows * self.projected * (products + between) + self.scores;
        let routes = rows * self.moe.map_or(1, |moe| moe.chosen);
        let matrices = if self.gated { 2 } else { 1 };
        let taken = if self.moe.is_some() { routes * hidden * products } else { 0 };
        let mlp = taken + routes * (inner * (matrices * between + products) + hidden * between);
        normed + attention.max(mlp)
    }
}

fn vision_layer(precision: Precision, sizes: &ModelSizes, run: &Run) -> u128 {
    let tower = &sizes.tower;
    let crops = run.images * tower.crops;
    let scores = crops * tower.heads * tower.positions * tower.positions;
    Layer {
        rows: crops * tower.positions,
        hidden: tower.hidden,
        inner: tower.inner,
        gated: false,
        moe: tower.moe,
        projected: 4 * tower.hidden,
        scores: 4 * scores * precision.scores_held(tower.heads, tower.hidden),
        products: bytes(precision.products(Part::Vision, sizes)),
        between: bytes(precision.between(Part::Vision, sizes)),
    }
    .bytes()
}

fn llm_layer(precision: Precision, sizes: &ModelSizes, run: &Run) -> u128 {
    let llm = &sizes.llm;
    let scores = match precision.target {
        Target::Tensorrt103 => block_scores(precision, sizes, run),
        _ => 4 * llm.heads * run.pass * run.pass * precision.scores_held(llm.heads, llm.query),
    };
    Layer {
        rows: run.pass,
        hidden: llm.hidden,
        inner: llm.inner,
        gated: true,
        moe: llm.moe,
        projected: 2 * (llm.query + llm.key),
        scores,
        products: bytes(precision.products(Part::Llm, sizes)),
        between: bytes(precision.between(Part::Llm, sizes)),
    }
    .bytes()
}

/// Bytes of the scores of a prompt in `tensorrt-10.3` graphs, and of the keys and values that are
/// brought into another order for them. Scores of cached and of new positions are put side by side
/// and taken apart again: what TensorRT-RTX's builder asks for grows by 6 bytes for each score of a
/// cached position and by 8 for each of a new one. These factors were read off its figures, see
/// the tests; it does not say which tensors they are.
fn block_scores(precision: Precision, sizes: &ModelSizes, run: &Run) -> u128 {
    let llm = &sizes.llm;
    let keys_and_values = 2 * llm.key * bytes(precision.products(Part::Llm, sizes));
    llm.heads * run.pass * (6 * run.context + 8 * run.pass) + run.context * keys_and_values
}

fn connector(precision: Precision, sizes: &ModelSizes, run: &Run) -> u128 {
    let connector = &sizes.connector;
    Layer {
        rows: run.images * connector.tokens,
        hidden: connector.input.max(connector.hidden),
        inner: connector.hidden,
        gated: false,
        moe: connector.moe,
        projected: 0,
        scores: 0,
        products: bytes(precision.products(Part::Connector, sizes)),
        between: bytes(precision.between(Part::Connector, sizes)),
    }
    .bytes()
}

#[cfg(test)]
mod tests {
    use cumo_bundle::FloatType;

    use super::*;
    use crate::testing::{mistral_7b, mixtral_8x7b};

    /// Contexts, prompts, and the bytes that TensorRT-RTX 1.7.1's builder told for the largest
    /// engine of `cumo-export engine exporters/tests/data/MODEL --shapes-only --target
    /// tensorrt-10.3 --device 8.9 --max-context CONTEXT --max-prompt PROMPT`, to 0.1 MB: those of
    /// CuMo-Mistral-7B and CuMo-Mixtral-8x7B are the same. In the short ones it is a tower layer.
    const TENSORRT_10_3: [(u128, u128, u128); 9] = [
        (512, 512, 165_600_000),
        (1024, 1024, 496_600_000),
        (2048, 2048, 1_916_400_000),
        (4096, 512, 501_000_000),
        (4096, 1024, 1_111_300_000),
        (4096, 2048, 2_742_900_000),
        (8192, 512, 920_500_000),
        (8192, 2048, 4_361_900_000),
        (16384, 2048, 7_608_100_000),
    ];

    #[test]
    fn prompts_of_tensorrt_10_3_need_no_more_than_is_planned_and_not_much_less() {
        let precision = Precision { target: Target::Tensorrt103, dtype: FloatType::F16 };
        for sizes in [mistral_7b(), mixtral_8x7b()] {
            for (context, pass, told) in TENSORRT_10_3 {
                let run = Run { context, images: 1, pass };
                let planned = activations(precision, &sizes, &run);
                assert!(planned >= told, "{}: {run:?}: {planned} < {told}", sizes.name);
                let scores = block_scores(precision, &sizes, &run);
                assert!(scores <= told + told / 10, "{}: {run:?}: {scores}", sizes.name);
            }
        }
    }
}
