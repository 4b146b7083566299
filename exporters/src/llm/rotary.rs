//! Rotary position embedding, half-split (RoFormer, arXiv 2104.09864; `MistralRotaryEmbedding` of
//! transformers).

use cumo_bundle::names;
use cumo_checkpoint::LlmConfig;
use cumo_onnx::{DType, Dim, Value, dims};

use crate::builder::ModelBuilder;
use crate::error::Error;
use crate::ports;
use crate::weight::Elements;

/// Cosines and sines at the new positions, `[batch, 1, sequence, head_dim / 2]` each, of the type of
/// what they turn.
pub(crate) struct Rotary {
    pub(crate) cos: Value,
    pub(crate) sin: Value,
}

/// One over the wavelength of each pair of channels, in f32 as the original computes it.
fn inverse_frequencies(config: &LlmConfig) -> Vec<f32> {
    let (theta, channels) = (config.rope_theta as f32, config.head_dim as f32);
    (0..config.head_dim / 2).map(|pair| 1.0 / theta.powf((2 * pair) as f32 / channels)).collect()
}

/// Cosines and sines of every position, one row a position, `head_dim / 2` columns.
pub(crate) fn tables(config: &LlmConfig) -> (Elements, Elements) {
    let table = |function: fn(f32) -> f32| {
        let frequencies = inverse_frequencies(config);
        let columns = frequencies.len().max(1);
        Elements::new(move |index| {
            let frequency = frequencies.get(index % columns).copied().unwrap_or_default();
            function((index / columns) as f32 * frequency)
        })
    };
    (table(f32::cos), table(f32::sin))
}

/// Cosines and sines at `position_ids` `[batch, sequence]`.
pub(crate) fn at_positions(
    b: &mut ModelBuilder<'_>,
    position_ids: &Value,
    config: &LlmConfig,
) -> Result<Rotary, Error> {
    let half = config.head_dim / 2;
    let frequencies = inverse_frequencies(config);
    let element = move |index: usize| frequencies.get(index).copied().unwrap_or_default();
    let frequencies =
        b.computed("rotary_emb.inv_freq", Elements::new(element), &[half], DType::F32)?;
    let positions = b.g.cast(position_ids, DType::F32);
    let positions = b.g.unsqueeze(&positions, &[1, 3])?;
    let angles = b.g.mul(&positions, &frequencies)?;
    debug_assert_eq!(
        angles.shape().dims(),
        dims![names::BATCH, 1, names::SEQUENCE, half].as_slice()
    );
    let (cos, sin) = (b.g.cos(&angles), b.g.sin(&angles));
    Ok(Rotary { cos: b.g.cast(&cos, b.between()), sin: b.g.cast(&sin, b.between()) })
}

impl Rotary {
    /// Turns `x` `[batch, heads, sequence, head_dim]` by the angles of its positions.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub(crate) fn rotate(&self, b: &mut ModelBuilder<'_>, x: &Value) -> Result<Value, Error> {
        let g = &mut b.g;
        let channels = x.shape().dims().get(3).and_then(Dim::fixed).unwrap_or_default();
        let half = channels / 2;
        let first = g.slice(x, 3, (0, Some(half)), Dim::Fixed(half))?;
        let second = g.slice(x, 3, (half, Some(channels)), Dim::Fixed(channels - half))?;
        let (first_cos, second_sin) = (g.mul(&first, &self.cos)?, g.mul(&second, &self.sin)?);
        let (second_cos, first_sin) = (g.mul(&second, &self.cos)?, g.mul(&first, &self.sin)?);
        let left = g.sub(&first_cos, &second_sin)?;
        let right = g.add_values(&second_cos, &first_sin)?;
        Ok(g.concat(&[&left, &right], 3, Dim::Fixed(channels))?)
    }
}

/// The most cosines that are tabulated: a million positions of 64.
pub(crate) const MAX_TABLE: usize = 1 << 26;

/// Makes cosines and sines at `position_ids` `[batch, sequence]` outputs of the graph,
/// `[batch, sequence, head_dim / 2]` each: rows of tables, where a table is of a sensible size.
pub(crate) fn output(
    b: &mut ModelBuilder<'_>,
    position_ids: &Value,
    config: &LlmConfig,
) -> Result<(), Error> {
    let (positions, half) = (config.max_position_embeddings, config.head_dim / 2);
    let (cos, sin) = if positions.saturating_mul(half) <= MAX_TABLE {
        let (cos, sin) = tables(config);
        let shape = [positions, half];
        let cos = b.computed("rotary_emb.cos_cache", cos, &shape, b.between())?;
        let sin = b.computed("rotary_emb.sin_cache", sin, &shape, b.between())?;
        (b.g.gather_rows(&cos, position_ids)?, b.g.gather_rows(&sin, position_ids)?)
    } else {
        let Rotary { cos, sin } = at_positions(b, position_ids, config)?;
        (b.g.squeeze(&cos, 1)?, b.g.squeeze(&sin, 1)?)
    };
    let shape = dims![names::BATCH, names::SEQUENCE, half];
    b.g.output(ports::COS, &cos, b.between(), shape.clone())?;
    Ok(b.g.output(ports::SIN, &sin, b.between(), shape)?)
}

/// Declares the inputs that [`output`] makes.
pub(crate) fn input(b: &mut ModelBuilder<'_>, config: &LlmConfig) -> Result<(Value, Value), Error> {
    let shape = dims![names::BATCH, names::SEQUENCE, config.head_dim / 2];
    let cos = b.g.input(ports::COS, b.between(), shape.clone())?;
    Ok((cos, b.g.input(ports::SIN, b.between(), shape)?))
}
