//! What implements [`crate::backend::Backend`], each behind a feature of Cargo's of its name, and
//! which of them runs a folder.

#[cfg(feature = "ort")]
pub mod ort;
mod slots;
#[cfg(feature = "tensorrt")]
pub mod tensorrt;

use std::path::Path;

#[cfg(feature = "ort")]
use cumo_bundle::Target;
use cumo_bundle::{Bundle, Engines, Folder};

use crate::backend::Backend;
#[cfg(feature = "ort")]
use crate::backend::BackendError;
use crate::error::Error;

/// Settings of the backends that this program has.
#[derive(Debug, Clone, Default)]
pub struct BackendOptions {
    /// Of ONNX Runtime.
    #[cfg(feature = "ort")]
    pub ort: ort::OrtOptions,
    /// Of TensorRT.
    #[cfg(feature = "tensorrt")]
    pub tensorrt: tensorrt::TensorrtOptions,
}

/// A folder, and what runs it.
pub(crate) struct Opened {
    /// What the executor walks; of engines, the bundle that they were built of.
    pub(crate) bundle: Bundle,
    pub(crate) backend: Box<dyn Backend>,
}

/// Opens a bundle or a folder of engines on the backend that its manifest asks for.
///
/// # Errors
/// [`Error::Bundle`]; [`Error::NoBackend`] where this program was built without it;
/// [`Error::Backend`].
pub(crate) fn open(path: &Path, options: &BackendOptions) -> Result<Opened, Error> {
    match Folder::open(path)? {
        Folder::Bundle(bundle) => open_bundle(*bundle, options),
        Folder::Engines(engines) => open_engines(&engines, options),
    }
}

#[cfg(feature = "ort")]
fn open_bundle(bundle: Bundle, options: &BackendOptions) -> Result<Opened, Error> {
    let files = bundle.manifest.files.keys().cloned().collect();
    let backend = ort::OrtBackend::new(options.ort.clone(), files).map_err(|error| {
        let is_missing = matches!(error, BackendError::MissingLibrary { .. });
        let is_for_tensorrt =
            matches!(bundle.manifest.target, Target::Tensorrt | Target::Tensorrt103);
        match is_missing && is_for_tensorrt {
            true => Error::NoEngines { path: bundle.path.clone(), cause: Box::new(error) },
            false => error.into(),
        }
    })?;
    backend.check_bundle(&bundle.manifest)?;
    Ok(Opened { bundle, backend: Box::new(backend) })
}

#[cfg(not(feature = "ort"))]
fn open_bundle(bundle: Bundle, _: &BackendOptions) -> Result<Opened, Error> {
    Err(Error::NoBackend {
        path: bundle.path,
        holds: "a bundle of ONNX graphs",
        backend: "ONNX Runtime",
        feature: "ort",
        instead: "build engines of it with `cumo-export engine`",
    })
}

#[cfg(feature = "tensorrt")]
fn open_engines(engines: &Engines, options: &BackendOptions) -> Result<Opened, Error> {
    let backend = tensorrt::TensorrtBackend::new(engines, options.tensorrt.clone())?;
    let bundle = Bundle { path: engines.path.clone(), manifest: tensorrt::runs_as(engines) };
    Ok(Opened { bundle, backend: Box::new(backend) })
}

#[cfg(not(feature = "tensorrt"))]
fn open_engines(engines: &Engines, _: &BackendOptions) -> Result<Opened, Error> {
    Err(Error::NoBackend {
        path: engines.path.clone(),
        holds: "TensorRT engines",
        backend: "TensorRT",
        feature: "tensorrt",
        instead: "run the bundle that they were built of",
    })
}
