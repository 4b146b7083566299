//! The TensorRT, the device and the plugin that engines need, and whether they are here.

use std::path::PathBuf;

use cumo_bundle::{Engines, Error as BundleError, Machine, TensorrtFlavour};
use cumo_tensorrt::{DeviceInfo, Flavour, Library, LibraryPlaces, Runtime};

use super::TensorrtOptions;
use super::fault::during;
use crate::backend::BackendError;
use crate::error::Error;

/// What engines run on.
pub(super) struct Toolkit {
    pub(super) library: Library,
    pub(super) device: DeviceInfo,
    pub(super) runtime: Runtime,
}

impl Toolkit {
    /// Loads the TensorRT of engines and its plugin, and takes a device.
    ///
    /// # Errors
    /// [`BackendError::Tensorrt`] where something is missing; [`BundleError::OtherMachine`] with
    /// every difference between what engines need and what is here.
    pub(super) fn open(engines: &Engines, options: &TensorrtOptions) -> Result<Toolkit, Error> {
        let wanted = engines.manifest.tensorrt.flavour;
        let missing = |error: cumo_tensorrt::Error| BackendError::Tensorrt {
            what: wanted.to_string(),
            reason: error.to_string(),
        };
        let library = Library::open_at(flavour(wanted), &options.libraries).map_err(missing)?;
        let device = device(&library, options.device);
        let plugin = match &engines.manifest.plugin {
            Some(_) => library
                .load_own_plugins(options.plugin.as_deref())
                .and_then(|file| library.plugin_layout(&file))
                .map(Some),
            None => Ok(None),
        };
        let version = library.version();
        let compute_capability = device.as_ref().ok().map(|it| it.compute_capability);
        let machine = Machine {
            flavour: wanted,
            version: &version,
            compute_capability: compute_capability.and_then(|it| u32::try_from(it).ok()),
            plugin_layout: plugin.as_ref().ok().copied().flatten(),
        };
        let reasons = [device.as_ref().err().cloned(), plugin.err().map(|it| it.to_string())];
        engines.check_machine(&machine).map_err(|error| with_reasons(error, reasons))?;
        let device =
            device.map_err(|reason| BackendError::Tensorrt { what: wanted.to_string(), reason })?;
        let runtime = Runtime::new(&library, device.ordinal).map_err(during("using the device"))?;
        Ok(Toolkit { library, device, runtime })
    }
}

/// Adds to the differences why something is missing.
fn with_reasons(error: BundleError, reasons: [Option<String>; 2]) -> BundleError {
    match error {
        BundleError::OtherMachine { path, mut problems } => {
            // They stand in one line with the differences.
            problems.extend(reasons.into_iter().flatten().map(|reason| reason.replace('\n', "; ")));
            BundleError::OtherMachine { path, problems }
        }
        error => error,
    }
}

/// The device of a number; a sentence where there is none.
fn device(library: &Library, ordinal: usize) -> Result<DeviceInfo, String> {
    let devices = library.devices().map_err(|error| error.to_string())?;
    let count = devices.len();
    devices.into_iter().nth(ordinal).ok_or_else(|| match count {
        1 => format!("there is no device {ordinal}, only device 0"),
        _ => format!("there is no device {ordinal}, only 0 to {}", count.saturating_sub(1)),
    })
}

/// The flavour that an engines' manifest names.
fn flavour(flavour: TensorrtFlavour) -> Flavour {
    match flavour {
        TensorrtFlavour::Rtx => Flavour::Rtx,
        TensorrtFlavour::V11 => Flavour::V11,
        TensorrtFlavour::V10 => Flavour::V10,
    }
}

/// A TensorRT that was looked for.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct TensorrtFound {
    /// `rtx`, `11` or `10`.
    pub flavour: &'static str,
    /// Its version and file; none where it is not there.
    pub library: Option<(String, PathBuf)>,
    /// The file of this project's plugin for it; none where it is not there.
    pub plugin: Option<PathBuf>,
    /// The devices that it sees: ordinal, name, compute capability, bytes of memory.
    pub devices: Vec<(usize, String, i32, u64)>,
    /// Why something is missing, a sentence each.
    pub missing: Vec<String>,
}

/// Every flavour of TensorRT, as it is found in the usual places.
pub fn find_tensorrt() -> Vec<TensorrtFound> {
    Flavour::ALL.into_iter().map(|flavour| find(flavour, &LibraryPlaces::default())).collect()
}

fn find(flavour: Flavour, places: &LibraryPlaces) -> TensorrtFound {
    let mut found = TensorrtFound {
        flavour: flavour.name(),
        library: None,
        plugin: None,
        devices: Vec::new(),
        missing: Vec::new(),
    };
    let library = match Library::open_at(flavour, places) {
        Ok(library) => library,
        Err(error) => {
            found.missing.push(error.to_string());
            return found;
        }
    };
    found.library = Some((library.version(), library.path()));
    match library.load_own_plugins(None) {
        Ok(file) => found.plugin = Some(file),
        Err(error) => found.missing.push(error.to_string()),
    }
    match library.devices() {
        Ok(devices) => {
            let all = devices.into_iter();
            let facts =
                |it: DeviceInfo| (it.ordinal, it.name, it.compute_capability, it.total_bytes);
            found.devices = all.map(facts).collect();
        }
        Err(error) => found.missing.push(error.to_string()),
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flavour_that_is_nowhere_is_missing_with_a_sentence() {
        let nowhere = Some(PathBuf::from("/nonexistent"));
        let places = LibraryPlaces { shim: nowhere.clone(), tensorrt: nowhere };
        let found = find(Flavour::V10, &places);
        assert_eq!((found.flavour, &found.library), ("10", &None));
        assert!(found.missing[0].contains("libcumo_trt_10.so was not found"), "{found:?}");
    }
}
