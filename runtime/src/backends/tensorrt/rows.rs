//! Rows that engines make and the runtime puts into the cache: those of a TensorRT whose parser has
//! no operator for it. A kernel of this project's plugin library takes their place from the device's
//! memory, so that it can be recorded; without that library they are copied.

use cumo_bundle::{CacheUpdate, Engines};
use cumo_tensorrt::{Error as TensorrtError, Kernels, NewRows};

use super::fault::during;
use super::memory::Given;
use super::toolkit::Toolkit;
use super::{Slots, TensorrtBackend, TensorrtOptions};
use crate::backend::{BackendError, RowWrite};

/// The kernels, where engines leave rows to the runtime. Where they are not to be had, a note says
/// so.
///
/// # Errors
/// [`BackendError::Device`].
pub(super) fn kernels(
    engines: &Engines,
    options: &TensorrtOptions,
    toolkit: &Toolkit,
    notes: &mut Vec<String>,
) -> Result<Option<Kernels>, BackendError> {
    let slots = &engines.manifest.bundle.plan.cache;
    if !slots.iter().any(|slot| slot.update == CacheUpdate::Rows) {
        return Ok(None);
    }
    let file = toolkit.library.own_plugins(options.plugin.as_deref());
    match file.and_then(|file| toolkit.runtime.kernels(&file)) {
        Ok(kernels) => Ok(Some(kernels)),
        Err(error @ (TensorrtError::Plugin { .. } | TensorrtError::Unsupported { .. })) => {
            notes.push(format!(
                "new keys and values are copied into the cache layer by layer, which is slower, and \
                 decoding is not one CUDA graph: {error}"
            ));
            Ok(None)
        }
        Err(error) => Err(during("loading kernels")(error)),
    }
}

/// Rows as the kernel takes them; none where memory was given back.
pub(super) fn new_rows<'a>(buffers: &'a Slots<Given>, write: &RowWrite) -> Option<NewRows<'a>> {
    Some(NewRows {
        rows: &buffers.get(write.rows)?.place,
        indices: &buffers.get(write.index)?.place,
        cache: &buffers.get(write.cache)?.place,
        batch: 1,
        heads: write.heads,
        sequence: write.sequence,
        pitch: write.pitch,
        position_bytes: write.position_bytes,
    })
}

impl TensorrtBackend {
    /// Refuses rows that do not lie where they are said to.
    pub(super) fn check_rows(&self, write: &RowWrite) -> Result<(), BackendError> {
        write.check()?;
        let bytes = |positions: usize| {
            let head = positions.saturating_mul(write.position_bytes);
            write.heads.saturating_mul(head)
        };
        self.given(write.rows)?.piece(0, bytes(write.sequence))?;
        self.given(write.index)?.piece(0, size_of::<i64>())?;
        self.given(write.cache)?.writable(0, bytes(write.pitch))?;
        Ok(())
    }

    /// Puts rows that were checked on the stream.
    pub(super) fn put_rows(&mut self, write: &RowWrite) -> Result<(), BackendError> {
        let (Some(kernels), Some(rows)) = (&self.kernels, new_rows(&self.buffers, write)) else {
            return write.copy(self);
        };
        let put = self.stream.write_rows(kernels, &rows);
        put.map_err(during("writing rows into the cache"))
    }
}
