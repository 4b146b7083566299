//! The times that no program can beat: what must be computed, by the rate of the tensor units; what
//! must be read, by the bandwidth of the memory; the longer of the two.

use serde::Serialize;

use crate::device::Mode;
use crate::memory::key_value_position;
use crate::precision::Precision;
use crate::sizes::ModelSizes;
use crate::weights::{self, Part};
use crate::work;

/// What ends first when both are used without a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Limit {
    /// The tensor units.
    Compute,
    /// The memory's bandwidth.
    Bandwidth,
}

/// The bound of one stage.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bound {
    /// Floating-point operations that it takes.
    pub flops: f64,
    /// Bytes that it reads at least: each weight that it uses and each cached position once.
    pub bytes: f64,
    /// The shortest time, in milliseconds.
    pub milliseconds: f64,
    /// What sets it.
    pub limit: Limit,
    /// Joules at the mode's watts over that time; none where the mode names no watts. No bound: a
    /// device may draw less than its mode allows.
    pub joules: Option<f64>,
}

/// The bound of decoding, one token after the other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct DecodeBound {
    /// Positions in the cache.
    pub depth_tokens: u64,
    /// Tokens in a second, at most.
    pub tokens_per_second: f64,
    /// The bound of a token.
    #[serde(flatten)]
    pub token: Bound,
}

/// The bounds of a precision.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bounds {
    /// The vision tower over all images of the request; none without images.
    pub vision: Option<Bound>,
    /// The connector over all images of the request; none without images.
    pub connector: Option<Bound>,
    /// The prompt through the language model; none, as those before, where the rate of what runs it
    /// is not known.
    pub prefill: Option<Bound>,
    /// The time to the first token: the stages' sum, in milliseconds. Decoding of image files and
    /// preprocessing come on top.
    pub first_token_milliseconds: Option<f64>,
    /// Decoding behind the prompt, and at the end of the context.
    pub decode: Vec<DecodeBound>,
}

impl Bounds {
    /// Joules of an image, tower and connector, of `images`; none where the mode names no watts or
    /// there is no image.
    pub(crate) fn joules_of_an_image(&self, images: u64) -> Option<f64> {
        let stages = [self.vision, self.connector].into_iter().flatten();
        let all = stages.filter_map(|bound| bound.joules).reduce(|sum, part| sum + part);
        all.map(|joules| joules / images as f64)
    }
}

/// The units that a precision runs on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Units<'a> {
    pub(crate) mode: &'a Mode,
    /// Whether the tensor rate is theirs; otherwise bandwidth alone bounds them, and says nothing of
    /// stages that compute much of what they read.
    pub(crate) has_rate: bool,
}

/// A precision of a model on units.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounding<'a> {
    pub(crate) precision: Precision,
    pub(crate) sizes: &'a ModelSizes,
    pub(crate) units: Units<'a>,
}

impl Bounding<'_> {
    /// The vision tower over a number of images; they share a read of the weights.
    pub(crate) fn vision(&self, images: u64) -> Option<Bound> {
        let tokens = images as f64 * (self.sizes.tower.crops * self.sizes.tower.positions) as f64;
        let bytes = weights::read(Part::Vision, self.precision, self.sizes, tokens);
        (images > 0).then(|| self.bound(images as f64 * work::vision(self.sizes), bytes))
    }

    /// The connector over a number of images.
    pub(crate) fn connector(&self, images: u64) -> Option<Bound> {
        let tokens = images as f64 * self.sizes.connector.tokens as f64;
        let bytes = weights::read(Part::Connector, self.precision, self.sizes, tokens);
        (images > 0).then(|| self.bound(images as f64 * work::connector(self.sizes), bytes))
    }

    /// `positions` new positions through the language model, behind `depth` others.
    pub(crate) fn pass(&self, positions: u64, depth: u64) -> Bound {
        let (precision, sizes) = (self.precision, self.sizes);
        let new = positions as f64;
        // The table of cosines counts once, which is less than a row a position of the cache.
        let weights = weights::read(Part::Llm, precision, sizes, new)
            + weights::read(Part::Embed, precision, sizes, new);
        let window = sizes.llm.window.map_or(depth as f64, |window| window as f64);
        let cache = key_value_position(precision, sizes) as f64 * (depth as f64).min(window);
        self.bound(work::llm(sizes, positions, depth), weights + cache)
    }

    /// A token behind `depth` others.
    pub(crate) fn decode(&self, depth: u64) -> DecodeBound {
        let token = self.pass(1, depth);
        let tokens_per_second = 1000.0 / token.milliseconds;
        DecodeBound { depth_tokens: depth, tokens_per_second, token }
    }

    /// The bounds of a request.
    pub(crate) fn all(&self, images: u64, prompt: u64, context: u64) -> Bounds {
        let known = |bound: Option<Bound>| bound.filter(|_| self.units.has_rate);
        let (vision, connector) = (known(self.vision(images)), known(self.connector(images)));
        let prefill = known(Some(self.pass(prompt, 0)));
        let time = |bound: Option<Bound>| bound.map_or(0.0, |bound| bound.milliseconds);
        let first_token =
            prefill.map(|prefill| time(vision) + time(connector) + prefill.milliseconds);
        let mut depths = vec![prompt, context.saturating_sub(1)];
        depths.dedup();
        Bounds {
            vision,
            connector,
            prefill,
            first_token_milliseconds: first_token,
            decode: depths.into_iter().map(|depth| self.decode(depth)).collect(),
        }
    }

    fn bound(&self, flops: f64, bytes: f64) -> Bound {
        let mode = self.units.mode;
        let reading = bytes / (mode.bandwidth_gbs * 1e9);
        let computing = match self.units.has_rate {
            true => flops / (mode.f16_tflops * 1e12),
            false => 0.0,
        };
        let seconds = reading.max(computing);
        Bound {
            flops,
            bytes,
            milliseconds: seconds * 1000.0,
            limit: if computing > reading { Limit::Compute } else { Limit::Bandwidth },
            joules: mode.watts.map(|watts| watts * seconds),
        }
    }
}
