//! The memory that a model takes while it runs.

use cumo_bundle::{CacheUpdate, Dtype};

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
/// a layer the larger of attention and MLP is counted, with every tensor of it held at once; a
/// runtime holds less of these, and has memory of its own that is not counted.
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
    let mask = run.pass * run.context.min(run.pass.next_power_of_two().max(512)) * 2;
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
    /// Numbers of all heads' scores, as often as they are held.
    scores: u128,
    products: u128,
    between: u128,
}

impl Layer {
    fn bytes(&self) -> u128 {
        let Layer { rows, hidden, inner, products, between, .. } = self;
        let normed = rows * hidden * (products + between);
        let attention = rows * self.projected * (products + between) + self.scores * 4;
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
        scores: scores * precision.scores_held(tower.heads, tower.hidden),
        products: bytes(precision.products(Part::Vision, sizes)),
        between: bytes(precision.between(Part::Vision, sizes)),
    }
    .bytes()
}

fn llm_layer(precision: Precision, sizes: &ModelSizes, run: &Run) -> u128 {
    let llm = &sizes.llm;
    let scores = llm.heads * run.pass * run.pass;
    Layer {
        rows: run.pass,
        hidden: llm.hidden,
        inner: llm.inner,
        gated: true,
        moe: llm.moe,
        projected: 2 * (llm.query + llm.key),
        scores: scores * precision.scores_held(llm.heads, llm.query),
        products: bytes(precision.products(Part::Llm, sizes)),
        between: bytes(precision.between(Part::Llm, sizes)),
    }
    .bytes()
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
