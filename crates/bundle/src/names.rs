//! Names that the exporter writes and the runtime looks for.

/// The manifest's file name.
pub const MANIFEST_FILE: &str = "manifest.json";

/// Pixels of normalised images, `[images, 3, size, size]`.
pub const PIXEL_VALUES: &str = "pixel_values";
/// The tower's output, `[images, tokens, channels * scales]`.
pub const IMAGE_FEATURES: &str = "image_features";
/// The connector's output, `[images, tokens, hidden]`.
pub const IMAGE_EMBEDS: &str = "image_embeds";
/// Token ids, `[batch, sequence]` i64.
pub const INPUT_IDS: &str = "input_ids";
/// Embeddings of text and images, `[batch, sequence, hidden]`.
pub const INPUTS_EMBEDS: &str = "inputs_embeds";
/// One for every position to attend to, `[batch, past_sequence + sequence]` i64. Where the cache is
/// updated in place (`ort-cpu`) it gives lengths only: ones, then zeros (right padding).
pub const ATTENTION_MASK: &str = "attention_mask";
/// Positions for the rotary embedding, `[batch, sequence]` i64.
pub const POSITION_IDS: &str = "position_ids";
/// Where the rows of a pass go in a cache of a fixed size, `[batch]` i64: the number of positions
/// that are in it already.
pub const WRITE_INDICES: &str = "write_indices";
/// Positions of the cache that a pass looks at, `[attended]` i64: 0, 1, 2 and so on.
pub const CACHE_POSITIONS: &str = "cache_positions";
/// Logits of every given position, `[batch, sequence, vocab]`, or of the last one alone,
/// `[batch, 1, vocab]`.
pub const LOGITS: &str = "logits";
/// The largest of the last position's logits, largest first, and behind them their tokens as
/// numbers, `[batch, 2, candidates]` f32; optional. One tensor, since each is a way from a device.
pub const CANDIDATES: &str = "candidates";

/// Symbol: images in one call.
pub const IMAGES: &str = "images";
/// Symbol: crops of all images and scales in one call.
pub const CROPS: &str = "crops";
/// Symbol: sequences in one call.
pub const BATCH: &str = "batch";
/// Symbol: new positions in one call.
pub const SEQUENCE: &str = "sequence";
/// Symbol: positions already in the cache.
pub const PAST_SEQUENCE: &str = "past_sequence";
/// Symbol: positions already in the cache plus the new ones.
pub const TOTAL_SEQUENCE: &str = "total_sequence";
/// Symbol: positions that a cache has room for.
pub const MAX_SEQUENCE: &str = "max_sequence";
/// Symbol: positions of the cache that a pass looks at, counted from the first: the smallest rung of
/// [`crate::Plan::attended`] that holds those in the cache and the new ones. As the positions of a
/// cache slot, the rows of the slot lie as far apart.
pub const ATTENDED: &str = "attended";

/// Name of a layer's cached keys as an input.
pub fn past_key(layer: usize) -> String {
    format!("past_key_values.{layer}.key")
}

/// Name of a layer's cached values as an input.
pub fn past_value(layer: usize) -> String {
    format!("past_key_values.{layer}.value")
}

/// Name of a layer's updated keys as an output.
pub fn present_key(layer: usize) -> String {
    format!("present.{layer}.key")
}

/// Name of a layer's updated values as an output.
pub fn present_value(layer: usize) -> String {
    format!("present.{layer}.value")
}

/// Name of a router's probabilities, an output of graphs exported with `--debug-outputs`;
/// `module` is the module's name in the checkpoint, for example `model.mm_projector.gate`.
pub fn router_probs(module: &str) -> String {
    format!("router.{module}.probs")
}

/// Name of a router's choices, best first, an output of graphs but those exported with
/// `--no-choices`.
pub fn router_experts(module: &str) -> String {
    format!("router.{module}.experts")
}

/// Whether a name is one of [`router_experts`].
pub fn is_router_experts(name: &str) -> bool {
    name.starts_with("router.") && name.ends_with(".experts")
}
