//! Names of inputs and outputs of layer graphs, which the plan binds to activations, cache slots and
//! weights.

/// The residual stream, `[crops or batch, tokens, hidden]` f32, as a layer is given it.
pub(crate) const HIDDEN_STATES: &str = "hidden_states";
/// The residual stream behind the layer.
pub(crate) const NEW_HIDDEN_STATES: &str = "new_hidden_states";
/// What is added to scores, `[batch, 1, sequence, attended]`.
pub(crate) const ATTENTION_MASK: &str = "attention_mask";
/// What is added to scores of cached positions, `[batch, 1, sequence, attended]`.
pub(crate) const CACHED_MASK: &str = "cached_mask";
/// What is added to scores of new positions, `[batch, 1, sequence, sequence]`.
pub(crate) const NEW_MASK: &str = "new_mask";
/// Cosines of the rotary embedding at the new positions, `[batch, sequence, head_dim / 2]`.
pub(crate) const COS: &str = "cos";
/// Sines of the same.
pub(crate) const SIN: &str = "sin";
/// A layer's cached keys.
pub(crate) const PAST_KEY: &str = "past_key";
/// A layer's cached values.
pub(crate) const PAST_VALUE: &str = "past_value";
/// A layer's keys for the cache: all of it, or the new rows.
pub(crate) const PRESENT_KEY: &str = "present_key";
/// A layer's values for the cache.
pub(crate) const PRESENT_VALUE: &str = "present_value";
