//! The TensorRT to build with, its device, and the plugin.

use std::path::{Path, PathBuf};

use cumo_bundle::{PluginFacts, TensorrtFacts, TensorrtFlavour, hash_reader};
use cumo_tensorrt::{DeviceInfo, Flavour, Library, LibraryPlaces};

use super::error::Error;
use super::options::EngineOptions;
use crate::moe::PLUGIN;

/// The form of fields and inputs that the plugin's engines have: `kLayoutVersion` of
/// `native/plugin/src/fields.h`.
pub const LAYOUT_VERSION: u32 = 1;

/// Compute capabilities of the devices that TensorRT-RTX's engines are for where none are named.
/// Later ones than the last run too.
pub const PORTABLE_DEVICES: [u32; 4] = [80, 86, 89, 120];

/// The name of the plugin's library.
const PLUGIN_FILE: &str = "libcumo_plugin.so";

/// What engines are built with.
pub(super) struct Toolkit {
    /// TensorRT.
    pub(super) library: Library,
    /// The machine's first device, if it has one.
    pub(super) device: Option<DeviceInfo>,
    /// The plugin, where graphs need it.
    pub(super) plugin: Option<PluginFacts>,
}

impl Toolkit {
    /// Loads TensorRT, without the plugin.
    ///
    /// # Errors
    /// [`Error::Toolkit`], [`Error::Option`].
    pub(super) fn open(options: &EngineOptions) -> Result<Toolkit, Error> {
        let library = match options.flavour {
            Some(flavour) => open(flavour, &options.libraries)?,
            None => automatic(&options.libraries)?,
        };
        let flavour = library.flavour();
        if flavour != Flavour::Rtx && !options.devices.is_empty() {
            let text = format!(
                "--device is for TensorRT-RTX; TensorRT {flavour} builds for the device of the machine"
            );
            return Err(Error::Option(text));
        }
        let device = match library.devices() {
            Ok(devices) => devices.into_iter().next(),
            Err(_) if flavour.builds_without_device() => None,
            Err(cause) => {
                let what = format!("building with TensorRT {flavour}");
                let advice = "\nTensorRT-RTX (--flavour rtx) builds on machines without a GPU";
                return Err(Error::Toolkit { what, cause: Box::new(cause), advice });
            }
        };
        Ok(Toolkit { library, device, plugin: None })
    }

    /// Loads the plugin: the one at `named`, or at `$CUMO_TRT_PLUGIN`, or the one beside the program.
    ///
    /// # Errors
    /// [`Error::NoPlugin`], [`Error::Toolkit`], [`Error::Io`].
    pub(super) fn load_plugin(&mut self, named: Option<&Path>) -> Result<(), Error> {
        self.plugin = Some(load_plugin(&self.library, named)?);
        Ok(())
    }

    /// What the manifest says of it.
    pub(super) fn facts(&self, options: &EngineOptions) -> TensorrtFacts {
        let device = self.device.as_ref().and_then(|it| u32::try_from(it.compute_capability).ok());
        let (flavour, compute_capabilities) = match self.library.flavour() {
            Flavour::Rtx => (TensorrtFlavour::Rtx, options.devices.clone()),
            Flavour::V11 => (TensorrtFlavour::V11, device.into_iter().collect()),
            Flavour::V10 => (TensorrtFlavour::V10, device.into_iter().collect()),
        };
        TensorrtFacts { flavour, version: self.library.version(), compute_capabilities }
    }
}

fn open(flavour: Flavour, places: &LibraryPlaces) -> Result<Library, Error> {
    Library::open_at(flavour, places).map_err(|cause| Error::Toolkit {
        what: format!("TensorRT flavour `{flavour}`"),
        cause: Box::new(cause),
        advice: "",
    })
}

/// A full TensorRT where there is one and a device for it; else TensorRT-RTX.
fn automatic(places: &LibraryPlaces) -> Result<Library, Error> {
    for flavour in [Flavour::V11, Flavour::V10] {
        if let Ok(library) = Library::open_at(flavour, places)
            && library.can_build()
            && library.devices().is_ok()
        {
            return Ok(library);
        }
    }
    open(Flavour::Rtx, places)
}

fn load_plugin(library: &Library, named: Option<&Path>) -> Result<PluginFacts, Error> {
    let variable = || std::env::var_os("CUMO_TRT_PLUGIN").map(PathBuf::from);
    let path = match named.map(Path::to_owned).or_else(variable) {
        Some(path) => path,
        None => find_plugin(library.flavour())?,
    };
    let path = path.canonicalize().map_err(|source| Error::Io { path, source })?;
    library.load_plugins(&path).map_err(|cause| Error::Toolkit {
        what: format!("the plugin {}", path.display()),
        cause: Box::new(cause),
        advice: "",
    })?;
    let sha256 = hash_file(&path).map_err(|source| Error::Io { path, source })?;
    let (name, version) = (PLUGIN.to_owned(), "1".to_owned());
    Ok(PluginFacts { name, version, layout_version: LAYOUT_VERSION, sha256 })
}

/// The plugin's library beside the program or in the build folder. One over the kernels' emulation
/// serves for building: engines hold the node's fields, no code.
fn find_plugin(flavour: Flavour) -> Result<PathBuf, Error> {
    let folders = [
        String::new(),
        format!("../lib/cumo-edge/{flavour}"),
        format!("../native-build/plugin/{flavour}"),
        format!("../native-build/plugin/emulated/{flavour}"),
    ];
    let program = std::env::current_exe().unwrap_or_default();
    let beside = program.parent().unwrap_or(Path::new(""));
    let files: Vec<PathBuf> =
        folders.iter().map(|folder| beside.join(folder).join(PLUGIN_FILE)).collect();
    match files.iter().find(|file| file.is_file()) {
        Some(file) => Ok(file.clone()),
        None => Err(Error::NoPlugin {
            tried: files.iter().map(|file| file.display().to_string()).collect(),
        }),
    }
}

/// SHA-256 of a file.
pub(super) fn hash_file(path: &Path) -> std::io::Result<String> {
    hash_reader(std::fs::File::open(path)?, |_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_version_is_the_plugins() {
        let header = concat!(env!("CARGO_MANIFEST_DIR"), "/../native/plugin/src/fields.h");
        let text = std::fs::read_to_string(header).unwrap();
        assert!(text.contains(&format!("kLayoutVersion = {LAYOUT_VERSION};")));
    }
}
