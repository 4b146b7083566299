//! The steps of the vision tower.

use cumo_bundle::{Binding, Step, names};
use cumo_checkpoint::VisionConfig;
use cumo_checkpoint::model::Vision;
use cumo_onnx::{DType, dims};

use super::assembly::Assembly;
use crate::error::Error;
use crate::part::PartName;
use crate::ports;
use crate::vision::{crops, embeddings, layer, merge};

const MODULE: &str = "model.vision_tower.vision_model";

/// Embedding of the crops, layers, and the merging of the scales.
pub(super) fn steps(
    assembly: &mut Assembly,
    vision: &Vision,
    config: &VisionConfig,
) -> Result<Vec<Step>, Error> {
    let part = PartName::Vision;
    let states = |index: usize| Binding::Activation(format!("hidden_states.{}", index % 2));
    let mut steps = vec![assembly.add(
        ("vision_embed", part, MODULE),
        &[(ports::NEW_HIDDEN_STATES, states(0))],
        &|b, _| {
            let size = config.image_size;
            let shape = dims![names::IMAGES, 3, size, size];
            let pixels = b.g.input(names::PIXEL_VALUES, DType::F32, shape)?;
            let crops = b.scope("crops", |b| crops::cut(b, &pixels, config))?;
            let x = b.scope("embeddings", |b| embeddings::embed(b, &crops, vision, config))?;
            Ok(b.g.output(ports::NEW_HIDDEN_STATES, &x, DType::F32, x.shape().clone())?)
        },
    )?];
    for (index, layer) in vision.layers.iter().enumerate() {
        let bindings =
            [(ports::HIDDEN_STATES, states(index)), (ports::NEW_HIDDEN_STATES, states(index + 1))];
        let module = format!("{MODULE}.encoder.layers.{index}");
        steps.push(assembly.add(("vision_layer", part, &module), &bindings, &|b, _| {
            let shape = dims![names::CROPS, config.num_positions(), config.hidden_size];
            let x = b.g.input(ports::HIDDEN_STATES, DType::F32, shape.clone())?;
            let normed = b.layer_norm(&x, &layer.layer_norm1, config.layer_norm_eps)?;
            let (out, x) = layer::after_norm(b, &normed, &x, layer, config)?;
            let x = b.add_residual(&out, &x)?;
            Ok(b.g.output(ports::NEW_HIDDEN_STATES, &x, DType::F32, shape)?)
        })?);
    }
    let bindings = [(ports::HIDDEN_STATES, states(vision.layers.len()))];
    steps.push(assembly.add(("vision_pool", part, MODULE), &bindings, &|b, _| {
        let number = if config.scales == [1] { names::IMAGES } else { names::CROPS };
        let shape = dims![number, config.num_positions(), config.hidden_size];
        let x = b.g.input(ports::HIDDEN_STATES, DType::F32, shape)?;
        let features = b.scope("merge", |b| merge::merge(b, &x, config))?;
        let channels = config.hidden_size * config.scales.len();
        let shape = dims![names::IMAGES, config.image_tokens(), channels];
        Ok(b.g.output(names::IMAGE_FEATURES, &features, DType::F32, shape)?)
    })?);
    Ok(steps)
}
