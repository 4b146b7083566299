//! The TensorRT to build with, its device, and the plugin.

use std::path::{Path, PathBuf};

use cumo_bundle::{
    PluginFacts, TensorrtFacts, TensorrtFlavour, compute_capability_name, hash_reader,
};
use cumo_onnx::{DType, GraphBuilder, dims};
use cumo_shared_object::path_variable;
use cumo_tensorrt::{BuildOptions, Builder, DeviceInfo, Flavour, Library, LibraryPlaces};

use super::error::Error;
use super::options::EngineOptions;
use crate::export::PRODUCER;
use crate::moe::PLUGIN;

/// The least compute capability that the plugin's kernels run on.
const PLUGIN_DEVICES: u32 = 80;

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
                let advice = "\nwithout a GPU, TensorRT-RTX builds (--flavour rtx), also for one kind of \
                              card alone (--device 8.9, its compute capability)";
                return Err(Error::Toolkit { what, cause: Box::new(cause), advice });
            }
        };
        try_devices(&library, &options.devices)?;
        Ok(Toolkit { library, device, plugin: None })
    }

    /// Loads the plugin: the one that the options name, or the one at `$CUMO_TRT_PLUGIN`, or the one
    /// that was built with the shim that `$CUMO_TRT_SHIM` names, or the one beside the program.
    ///
    /// # Errors
    /// [`Error::PluginDevice`], [`Error::NoPlugin`], [`Error::Toolkit`], [`Error::Io`].
    pub(super) fn load_plugin(&mut self, options: &EngineOptions) -> Result<(), Error> {
        let devices = self.facts(options).compute_capabilities;
        if let Some(device) = devices.into_iter().find(|device| *device < PLUGIN_DEVICES) {
            return Err(Error::PluginDevice { device: compute_capability_name(device) });
        }
        self.plugin = Some(load_plugin(&self.library, options.plugin.as_deref())?);
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

/// Builds one addition for the devices that were named, so that TensorRT refuses those that it does
/// not build for before anything is exported.
fn try_devices(library: &Library, devices: &[u32]) -> Result<(), Error> {
    if devices.is_empty() {
        return Ok(());
    }
    let refused = |error: &dyn std::fmt::Display| Error::Option(format!("--device: {error}"));
    let mut graph = GraphBuilder::new();
    let sum = graph
        .input("x", DType::F16, dims![8])
        .and_then(|x| graph.add_values(&x, &x))
        .map_err(|error| refused(&error))?;
    graph.output("y", &sum, DType::F16, dims![8]).map_err(|error| refused(&error))?;
    let model = graph.finish().encode("devices", "devices.data", PRODUCER);
    let devices: Vec<i32> = devices.iter().filter_map(|it| i32::try_from(*it).ok()).collect();
    let built = Builder::new(library)
        .parse(&model, None)
        .and_then(|mut network| network.build(&BuildOptions::new().compute_capabilities(&devices)));
    built.map(drop).map_err(|error| {
        let else_where = "TensorRT-RTX does not build for every card: TensorRT 10 or 11 builds on the card itself (docs/pc.md)";
        refused(&format!("{error}; {else_where}"))
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
    let variable = || path_variable("CUMO_TRT_PLUGIN");
    let path = match named.map(Path::to_owned).or_else(variable) {
        Some(path) => path,
        None => find_plugin(library.flavour())?,
    };
    let path = path.canonicalize().map_err(|source| Error::Io { path, source })?;
    if !path.is_file() {
        return Err(Error::NoPlugin { tried: vec![format!("{}: is no file", path.display())] });
    }
    let loaded = library.load_plugins(&path).and_then(|()| library.plugin_layout(&path));
    let layout_version = loaded.map_err(|cause| Error::Toolkit {
        what: format!("the plugin {}", path.display()),
        cause: Box::new(cause),
        advice: "",
    })?;
    let sha256 = hash_file(&path).map_err(|source| Error::Io { path, source })?;
    let (name, version) = (PLUGIN.to_owned(), "1".to_owned());
    Ok(PluginFacts { name, version, layout_version, sha256 })
}

/// The plugin's library: built with a shim that is named, beside the program, where packages and
/// `build.sh` install, or in the build folder. One over the kernels' emulation serves for building:
/// engines hold the node's fields, no code.
fn find_plugin(flavour: Flavour) -> Result<PathBuf, Error> {
    let folders = [
        String::new(),
        format!("../lib/cumo-edge/{flavour}"),
        format!("/usr/local/lib/cumo-edge/{flavour}"),
        format!("/usr/lib/cumo-edge/{flavour}"),
        format!("../native-build/plugin/{flavour}"),
        format!("../native-build/plugin/emulated/{flavour}"),
    ];
    let program = std::env::current_exe().unwrap_or_default();
    let beside = program.parent().unwrap_or(Path::new(""));
    let shim = path_variable("CUMO_TRT_SHIM");
    let of_shim = shim.map(|shim| shim.join(format!("../plugin/{flavour}")));
    let folders = of_shim.into_iter().chain(folders.iter().map(|folder| beside.join(folder)));
    let files: Vec<PathBuf> = folders.map(|folder| folder.join(PLUGIN_FILE)).collect();
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
