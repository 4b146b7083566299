//! What a network is made of: what can be said of an engine on a machine that cannot run it.

use std::collections::BTreeSet;

use cumo_bundle::EngineContents;
use cumo_tensorrt::{DType, Error, Layer, Network, Tensor};

/// Kinds of layers that multiply matrices.
const PRODUCTS: [&str; 5] =
    ["matrix_multiply", "convolution", "deconvolution", "einsum", "attention_input"];

/// The kind of layer that updates a cache where it lies: its output is its first input's memory, so
/// that between an input and an output of the network nothing is copied.
const CACHE_UPDATE: &str = "kv_cache_update";

/// Counts the layers of a network.
///
/// # Errors
/// [`Error::Internal`].
pub(super) fn contents(network: &Network) -> Result<EngineContents, Error> {
    let names = |tensors: Vec<Tensor>| tensors.into_iter().map(|tensor| tensor.name).collect();
    let ports = Ports { inputs: names(network.inputs()?), outputs: names(network.outputs()?) };
    Ok(count(&network.layers()?, &ports))
}

/// Names of a network's inputs and outputs.
struct Ports {
    inputs: BTreeSet<String>,
    outputs: BTreeSet<String>,
}

impl Ports {
    /// Whether a layer goes from an input of the network straight to an output.
    fn are_joined_by(&self, layer: &Layer) -> bool {
        let has = |ports: &BTreeSet<String>, tensors: &[Tensor]| {
            tensors.first().is_some_and(|tensor| ports.contains(&tensor.name))
        };
        has(&self.inputs, &layer.inputs) && has(&self.outputs, &layer.outputs)
    }
}

fn count(layers: &[Layer], ports: &Ports) -> EngineContents {
    let mut contents = EngineContents::default();
    for layer in layers {
        *contents.layers.entry(layer.kind.clone()).or_default() += 1;
        if let Some(plugin) = &layer.plugin {
            *contents.plugins.entry(plugin.clone()).or_default() += 1;
        }
        if layer.kind == CACHE_UPDATE && ports.are_joined_by(layer) {
            contents.caches_in_place += 1;
        }
        if PRODUCTS.contains(&layer.kind.as_str()) {
            let dtype = layer.inputs.first().map_or(DType::Other(-1), |input| input.dtype);
            *contents.products.entry(dtype.to_string()).or_default() += 1;
            if dtype == DType::F32 {
                contents.f32_products.push(layer.name.clone());
            }
        }
    }
    contents
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(kind: &str, dtype: DType, plugin: Option<&str>) -> Layer {
        let tensor =
            |name: &str| vec![Tensor { name: name.to_owned(), dtype, shape: None, is_host: false }];
        let (name, kind) = (format!("the {kind}"), kind.to_owned());
        let plugin = plugin.map(str::to_owned);
        Layer { name, kind, plugin, inputs: tensor("past"), outputs: tensor("present") }
    }

    #[test]
    fn products_in_f32_plugins_and_caches_are_found() {
        let ports =
            Ports { inputs: ["past".to_owned()].into(), outputs: ["present".to_owned()].into() };
        let layers = [
            layer("matrix_multiply", DType::F16, None),
            layer("matrix_multiply", DType::F32, None),
            layer("softmax", DType::F32, None),
            layer("plugin_v3", DType::F16, Some("CumoMoE")),
            layer("kv_cache_update", DType::F16, None),
        ];
        let contents = count(&layers, &ports);
        assert_eq!(contents.products, [("f16".to_owned(), 1), ("f32".to_owned(), 1)].into());
        assert_eq!(contents.f32_products, ["the matrix_multiply"]);
        assert_eq!(contents.plugins, [("CumoMoE".to_owned(), 1)].into());
        assert_eq!((contents.caches_in_place, contents.layers["softmax"]), (1, 1));

        let elsewhere = Ports { inputs: BTreeSet::new(), outputs: ports.outputs };
        assert_eq!(count(&layers, &elsewhere).caches_in_place, 0, "a copy is not in place");
    }
}
