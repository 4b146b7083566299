//! The model in plain loops over the whole prompt, without a cache.

use std::collections::BTreeMap;

pub(crate) const HIDDEN: usize = 16;
pub(crate) const HEADS: usize = 4;
pub(crate) const KV_HEADS: usize = 2;
pub(crate) const HEAD_DIM: usize = 4;
pub(crate) const LAYERS: usize = 3;
pub(crate) const VOCAB: usize = 40;
pub(crate) const PIXELS: usize = 12;
pub(crate) const CONTEXT: usize = 32;

/// What a position's score loses for each position between it and the one that looks at it.
pub(crate) const SLOPE: f64 = 0.25;

/// Shape and values of every weight, row-major.
pub(crate) struct Weights(pub(crate) BTreeMap<String, (Vec<usize>, Vec<f32>)>);

impl Weights {
    /// Numbers between -1 and 1, the same in every run.
    pub(crate) fn new() -> Weights {
        let mut state = 7_u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        let mut weights = BTreeMap::new();
        let mut add = |name: String, rows: usize, columns: usize| {
            let values = (0..rows * columns).map(|_| next()).collect();
            weights.insert(name, (vec![rows, columns], values));
        };
        add("embed".to_owned(), VOCAB, HIDDEN);
        add("vision".to_owned(), PIXELS, HIDDEN);
        add("head".to_owned(), HIDDEN, VOCAB);
        for layer in 0..LAYERS {
            add(format!("layers.{layer}.query"), HIDDEN, HEADS * HEAD_DIM);
            add(format!("layers.{layer}.key"), HIDDEN, KV_HEADS * HEAD_DIM);
            add(format!("layers.{layer}.value"), HIDDEN, KV_HEADS * HEAD_DIM);
        }
        Weights(weights)
    }

    /// The embedding of a token.
    pub(crate) fn token(&self, id: u32) -> Vec<f64> {
        let row = id as usize * HIDDEN;
        self.0["embed"].1[row..row + HIDDEN].iter().map(|value| f64::from(*value)).collect()
    }

    /// The embedding of an image.
    pub(crate) fn image(&self, pixels: &[f32]) -> Vec<f64> {
        let pixels: Vec<f64> = pixels.iter().map(|value| f64::from(*value)).collect();
        self.times("vision", &pixels)
    }

    /// The logits behind the last of these embeddings.
    pub(crate) fn logits(&self, embeds: &[Vec<f64>]) -> Vec<f64> {
        let mut states = embeds.to_vec();
        for layer in 0..LAYERS {
            states = self.layer(layer, &states);
        }
        self.times("head", states.last().unwrap())
    }

    fn layer(&self, layer: usize, states: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let project = |name: &str| -> Vec<Vec<f64>> {
            states.iter().map(|x| self.times(&format!("layers.{layer}.{name}"), x)).collect()
        };
        let (queries, keys, values) = (project("query"), project("key"), project("value"));
        let mut next = states.to_vec();
        for (place, query) in queries.iter().enumerate() {
            for head in 0..HEADS {
                let own = head * HEAD_DIM..(head + 1) * HEAD_DIM;
                let shared = head / (HEADS / KV_HEADS) * HEAD_DIM;
                let shared = shared..shared + HEAD_DIM;
                let score = |other: usize| {
                    let product = dot(&query[own.clone()], &keys[other][shared.clone()]);
                    product / (HEAD_DIM as f64).sqrt() - SLOPE * (place - other) as f64
                };
                let powers: Vec<f64> = (0..=place).map(|other| score(other).exp()).collect();
                let sum: f64 = powers.iter().sum();
                for (other, power) in powers.iter().enumerate() {
                    let target = &mut next[place][own.clone()];
                    for (target, value) in target.iter_mut().zip(&values[other][shared.clone()]) {
                        *target += power / sum * value;
                    }
                }
            }
        }
        next
    }

    /// `x` times a matrix.
    fn times(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let (shape, values) = &self.0[name];
        let column = |column: usize| {
            let rows = values[column..].iter().step_by(shape[1]);
            x.iter().zip(rows).map(|(x, weight)| x * f64::from(*weight)).sum()
        };
        (0..shape[1]).map(column).collect()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
