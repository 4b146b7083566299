//! The connector: `image_features` to `image_embeds`.

use cumo_bundle::names;
use cumo_checkpoint::Config;
use cumo_checkpoint::model::{Connector, Linear};
use cumo_onnx::{DType, Value, dims};

use crate::activation::Activation;
use crate::builder::ModelBuilder;
use crate::error::Error;

/// Builds the graph: `image_features` `[images, tokens, channels * scales]` f32 to `image_embeds`
/// `[images, tokens, hidden]` of the type that the LLM wants.
///
/// # Errors
/// Sizes that do not fit.
pub fn build(
    b: &mut ModelBuilder<'_>,
    connector: &Connector,
    config: &Config,
    embeds_dtype: DType,
) -> Result<(), Error> {
    b.scope("connector", |b| {
        let tokens = config.vision.image_tokens();
        let shape = dims![names::IMAGES, tokens, config.connector.input_size];
        let features = b.g.input(names::IMAGE_FEATURES, DType::F32, shape)?;
        let embeds = match connector {
            Connector::Moe(moe) => b.moe(&features, moe, Activation::Gelu)?,
            Connector::Dense(layers) => dense(b, features, layers)?,
        };
        let shape = dims![names::IMAGES, tokens, config.connector.hidden_size];
        let embeds = b.g.cast(&embeds, embeds_dtype);
        Ok(b.g.output(names::IMAGE_EMBEDS, &embeds, embeds_dtype, shape)?)
    })
}

/// Linear layers with gelu between them.
fn dense(b: &mut ModelBuilder<'_>, mut x: Value, layers: &[Linear]) -> Result<Value, Error> {
    for (index, layer) in layers.iter().enumerate() {
        if index > 0 {
            x = Activation::Gelu.apply(&mut b.g, &x)?;
        }
        x = b.scope(format!("{index}"), |b| b.linear(&x, layer))?;
    }
    Ok(x)
}
