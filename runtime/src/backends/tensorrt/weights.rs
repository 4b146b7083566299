//! Files of weights on the device.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use cumo_tensorrt::{DeviceBuffer, Error, Runtime, Staging, Stream};

use super::Progress;
use super::fault::during;
use crate::backend::BackendError;

/// Brings a file to the device: it is read into pinned memory, a piece after another, of which the
/// device copies one while the next is read.
///
/// # Errors
/// [`BackendError::Weights`] where the file cannot be read; [`BackendError::DeviceFull`],
/// [`BackendError::Device`].
pub(super) fn upload(
    file: &Path,
    runtime: &Runtime,
    stream: &Stream,
    staging: &mut Staging,
    progress: &Progress,
) -> Result<DeviceBuffer, BackendError> {
    let unreadable = |error: std::io::Error| BackendError::Weights {
        file: file.to_owned(),
        reason: error.to_string(),
    };
    let mut opened = File::open(file).map_err(unreadable)?;
    let bytes = opened.metadata().map_err(unreadable)?.len();
    let doing = format!("copying {}", file.display());
    let buffer = runtime.buffer(bytes).map_err(during(&doing))?;
    let mut done = 0;
    let filled = staging.fill(stream, &buffer, &mut |piece| {
        opened.read_exact(piece).map_err(Fault::File)?;
        done += piece.len() as u64;
        progress.0.iter().for_each(|tell| tell(done, bytes));
        Ok(())
    });
    filled.map_err(|fault| match fault {
        Fault::File(error) => unreadable(error),
        Fault::Device(error) => during(&doing)(error),
    })?;
    Ok(buffer)
}

/// What can stop an upload.
enum Fault {
    File(std::io::Error),
    Device(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Fault::Device(error)
    }
}

/// A file as memory that the device reads where it lies.
///
/// # Errors
/// As [`upload`].
pub(super) fn map(file: &Path, runtime: &Runtime) -> Result<DeviceBuffer, BackendError> {
    runtime.map_file(file).map_err(|error| match error {
        Error::Io { source, .. } => {
            BackendError::Weights { file: file.to_owned(), reason: source.to_string() }
        }
        Error::Unsupported { reason } => BackendError::Weights { file: file.to_owned(), reason },
        error => during(&format!("mapping {}", file.display()))(error),
    })
}
