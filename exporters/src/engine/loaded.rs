//! What engines say of themselves once they are loaded, on a machine with a device for them. Not yet
//! seen on a GPU.

use std::path::Path;

use cumo_bundle::{EnginesManifest, TensorrtFlavour};
use cumo_tensorrt::{Error, Flavour, Library, Runtime};

/// What a loaded engine says of itself.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LoadedEngine {
    /// The layers that TensorRT runs, by name.
    pub layers: Vec<String>,
    /// Device memory that a context needs as it runs, in bytes.
    pub activation_bytes: u64,
    /// Outputs that are an input's memory: caches that are updated in place.
    pub in_place: usize,
}

/// A device that engines are loaded on.
pub struct Loader(Runtime);

impl Loader {
    /// The first device, with the TensorRT that the engines are for and, where they need it, the
    /// plugin: the one at `plugin`, or the one that is installed.
    ///
    /// # Errors
    /// [`Error`]: what is not there.
    pub fn open(manifest: &EnginesManifest, plugin: Option<&Path>) -> Result<Loader, Error> {
        let library = Library::open(match manifest.tensorrt.flavour {
            TensorrtFlavour::Rtx => Flavour::Rtx,
            TensorrtFlavour::V11 => Flavour::V11,
            TensorrtFlavour::V10 => Flavour::V10,
        })?;
        let runtime = Runtime::new(&library, 0)?;
        if manifest.plugin.is_some() {
            library.load_own_plugins(plugin)?;
        }
        Ok(Loader(runtime))
    }

    /// Loads an engine and asks it.
    ///
    /// # Errors
    /// [`Error`] of TensorRT's.
    pub fn ask(&self, engine: &[u8]) -> Result<LoadedEngine, Error> {
        let engine = self.0.load(engine)?;
        let mut in_place = 0;
        for output in engine.outputs() {
            in_place += usize::from(engine.aliased_input(&output.name)?.is_some());
        }
        let (layers, activation_bytes) = (layers(&engine.inspect()?), engine.activation_bytes(0)?);
        Ok(LoadedEngine { layers, activation_bytes, in_place })
    }
}

/// The layers' names in the inspector's JSON, where a layer is its name or an object that has it.
fn layers(json: &str) -> Vec<String> {
    let found: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
    let layers = found.get("Layers").and_then(|layers| layers.as_array());
    let name = |layer: &serde_json::Value| {
        let name = layer.as_str().or_else(|| layer.get("Name")?.as_str());
        name.unwrap_or("?").to_owned()
    };
    layers.into_iter().flatten().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_names_or_objects_with_one() {
        let json = r#"{"Layers": ["a", {"Name": "b", "LayerType": "Plugin"}, 7], "Bindings": []}"#;
        assert_eq!(layers(json), ["a", "b", "?"]);
        assert_eq!(layers("no JSON"), [""; 0]);
    }
}
