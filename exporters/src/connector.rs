//! The connector: `image_features` to `image_embeds`.

use cumo_bundle::names;
use cumo_checkpoint::Config;
use cumo_checkpoint::model::{Connector, Linear};
use cumo_onnx::{Value, dims};

use crate::activation::Activation;
use crate::builder::ModelBuilder;
use crate::error::Error;

/// Builds the graph: `image_features` `[images, tokens, channels * scales]` to `image_embeds`
/// `[images, tokens, hidden]`.
///
/// # Errors
/// Sizes that do not fit.
pub fn build(
    b: &mut ModelBuilder<'_>,
    connector: &Connector,
    config: &Config,
) -> Result<(), Error> {
    b.scope("connector", |b| {
        let tokens = config.vision.image_tokens();
        let shape = dims![names::IMAGES, tokens, config.connector.input_size];
        let features = b.g.input(names::IMAGE_FEATURES, b.dtype, shape)?;
        let embeds = match connector {
            Connector::Moe(moe) => b.moe(&features, moe, Activation::Gelu)?,
            Connector::Dense(layers) => dense(b, features, layers)?,
        };
        let shape = dims![names::IMAGES, tokens, config.connector.hidden_size];
        Ok(b.g.output(names::IMAGE_EMBEDS, &embeds, b.dtype, shape)?)
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
