//! This project's own kernels, where TensorRT's operators do not do.

use std::path::Path;

use crate::error::Error;
use crate::handle::KernelsHandle;
use crate::library::check_plugin;
use crate::memory::DeviceBuffer;
use crate::runtime::Runtime;
use crate::stream::Stream;
use crate::sys;

/// The kernels of this project's plugin library, on one device. May be dropped while the device is
/// at work with them.
pub struct Kernels {
    handle: KernelsHandle,
}

impl Kernels {
    pub(crate) fn load(runtime: &Runtime, plugins: &Path) -> Result<Self, Error> {
        check_plugin(plugins)?;
        Ok(Kernels { handle: KernelsHandle::load(runtime.handle.clone(), plugins)? })
    }
}

/// Rows that go into a cache, each tensor row-major, without gaps and at its buffer's start.
#[derive(Clone, Copy)]
pub struct NewRows<'a> {
    /// What is written: `[batch, heads, sequence, position_bytes]`.
    pub rows: &'a DeviceBuffer,
    /// Where the first goes: `[batch]` of i64, read as the work is done.
    pub indices: &'a DeviceBuffer,
    /// Where they go: `[batch, heads, pitch, position_bytes]`.
    pub cache: &'a DeviceBuffer,
    /// Sequences.
    pub batch: usize,
    /// Heads of each.
    pub heads: usize,
    /// New positions of each head.
    pub sequence: usize,
    /// Positions that each head has room for.
    pub pitch: usize,
    /// Bytes of a position of a head.
    pub position_bytes: usize,
}

impl NewRows<'_> {
    /// Bytes of heads with so many positions; none where that is no size.
    fn bytes(&self, positions: usize) -> Option<u64> {
        let sizes = [self.batch, self.heads, positions, self.position_bytes];
        sizes.iter().try_fold(1_u64, |all, size| all.checked_mul(u64::try_from(*size).ok()?))
    }

    fn check(&self) -> Result<(), Error> {
        let tensors = [
            ("rows", self.rows, self.bytes(self.sequence)),
            ("indices", self.indices, (self.batch as u64).checked_mul(8)),
            ("cache", self.cache, self.bytes(self.pitch)),
        ];
        for (name, buffer, bytes) in tensors {
            if bytes.is_none_or(|bytes| bytes > buffer.bytes()) {
                return self.refuse(&format!("of {name} there are {} bytes", buffer.bytes()));
            }
        }
        if self.cache.overlaps(self.rows) || self.cache.overlaps(self.indices) {
            return self.refuse("the cache lies over them");
        }
        Ok(())
    }

    fn refuse(&self, why: &str) -> Result<(), Error> {
        let NewRows { batch, heads, sequence, pitch, position_bytes, .. } = self;
        let reason = format!(
            "{sequence} rows of {position_bytes} bytes for {batch} x {heads} heads of {pitch} \
             positions: {why}"
        );
        Err(Error::Run { reason })
    }
}

impl Stream {
    /// Puts the writing of rows into a cache on the stream: `cache[b, h, indices[b] + s] =
    /// rows[b, h, s]`, for every place that is in the cache; the others are left out. Run it once
    /// before it is captured: CUDA loads kernels at their first use.
    ///
    /// # Errors
    /// [`Error::Run`] where a buffer is too small, or the cache overlaps another; [`Error::Cuda`].
    pub fn write_rows(&self, kernels: &Kernels, new: &NewRows<'_>) -> Result<(), Error> {
        new.check()?;
        if new.batch == 0 || new.heads == 0 || new.sequence == 0 {
            return Ok(());
        }
        let number = |size: usize| {
            let reason = || format!("{size} is too large for rows of a cache");
            i32::try_from(size).map_err(|_| Error::Run { reason: reason() })
        };
        let write = sys::WriteRows {
            rows: new.rows.address(),
            indices: new.indices.address(),
            cache: new.cache.address(),
            batch: number(new.batch)?,
            heads: number(new.heads)?,
            sequence: number(new.sequence)?,
            pitch: number(new.pitch)?,
            position_bytes: number(new.position_bytes)?,
        };
        for buffer in [new.rows, new.indices, new.cache] {
            self.uses(buffer.used());
        }
        kernels.handle.write_rows(&self.handle, &write)
    }
}
