//! The token embedding: `input_ids` to `inputs_embeds`.

use cumo_bundle::names;
use cumo_checkpoint::Tensor;
use cumo_onnx::{DType, dims};

use crate::builder::ModelBuilder;
use crate::error::Error;

/// Builds the graph: `input_ids` `[batch, sequence]` i64 to `inputs_embeds`
/// `[batch, sequence, hidden]`.
///
/// # Errors
/// Sizes that do not fit.
pub fn build(b: &mut ModelBuilder<'_>, embed_tokens: &Tensor) -> Result<(), Error> {
    b.scope("embed", |b| {
        let ids = b.g.input(names::INPUT_IDS, DType::I64, dims![names::BATCH, names::SEQUENCE])?;
        let table = b.stored(embed_tokens)?;
        // Rows first: the table in another type would take its size in memory once more.
        let embeds = b.g.gather_rows(&table, &ids)?;
        let embeds = b.g.cast(&embeds, b.between());
        let shape = embeds.shape().clone();
        Ok(b.g.output(names::INPUTS_EMBEDS, &embeds, b.between(), shape)?)
    })
}
