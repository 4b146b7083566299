//! Device memory.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use crate::error::Error;
use crate::handle::{BufferHandle, MapError};
use crate::runtime::Runtime;
use crate::work::Used;

/// Device memory, or a part of it. Cheap to clone; freed with its last clone and part, and not
/// before the work is done that uses it: the stream, and a graph that was captured, have clones.
#[derive(Clone)]
pub struct DeviceBuffer {
    handle: Arc<BufferHandle>,
    offset: u64,
    bytes: u64,
}

impl DeviceBuffer {
    pub(crate) fn alloc(runtime: &Runtime, bytes: u64) -> Result<Self, Error> {
        let handle = BufferHandle::alloc(runtime.handle.clone(), bytes)?;
        Ok(DeviceBuffer { bytes: handle.bytes, handle: Arc::new(handle), offset: 0 })
    }

    pub(crate) fn map(runtime: &Runtime, path: &Path) -> Result<Self, Error> {
        let io = |source| Error::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        let handle = match BufferHandle::map(runtime.handle.clone(), &file) {
            Ok(handle) => handle,
            Err(MapError::Io(source)) => return Err(io(source)),
            Err(MapError::Device(error)) => return Err(error),
        };
        Ok(DeviceBuffer { bytes: handle.bytes, handle: Arc::new(handle), offset: 0 })
    }

    /// How many bytes it has.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Its device address.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.handle.address + self.offset
    }

    /// `bytes` of it from `offset` on, in the same memory.
    ///
    /// # Errors
    /// [`Error::Run`] where they are not all in it.
    pub fn slice(&self, offset: u64, bytes: u64) -> Result<Self, Error> {
        let end = offset.checked_add(bytes).filter(|end| *end <= self.bytes);
        if end.is_none() {
            let reason = format!("{bytes} bytes at {offset} of a buffer of {}", self.bytes);
            return Err(Error::Run { reason });
        }
        Ok(DeviceBuffer { handle: self.handle.clone(), offset: self.offset + offset, bytes })
    }

    /// What work that uses it keeps: the whole memory.
    pub(crate) fn used(&self) -> Used {
        self.handle.clone()
    }

    /// Whether the two have a byte in common.
    pub(crate) fn overlaps(&self, other: &DeviceBuffer) -> bool {
        let (start, end) = (self.address(), self.address() + self.bytes);
        let (other_start, other_end) = (other.address(), other.address() + other.bytes);
        start < other_end && other_start < end && self.bytes > 0 && other.bytes > 0
    }

    /// Refuses copies of more than it holds.
    pub(crate) fn holds(&self, bytes: usize) -> Result<(), Error> {
        if u64::try_from(bytes).is_ok_and(|bytes| bytes <= self.bytes) {
            return Ok(());
        }
        let reason = format!("{bytes} bytes do not fit into a buffer of {}", self.bytes);
        Err(Error::Run { reason })
    }
}
