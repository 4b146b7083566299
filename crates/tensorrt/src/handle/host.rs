//! Host memory that the device copies from and to by itself.

use std::ffi::c_void;
use std::fs::File;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use memmap2::Mmap;

use super::{BufferHandle, RuntimeHandle, StreamHandle, given};
use crate::error::Error;

/// Owns pinned host memory. What the device still copies must be waited for before it is dropped.
pub(crate) struct PinnedHandle {
    runtime: Arc<RuntimeHandle>,
    pointer: NonNull<c_void>,
    bytes: usize,
}

// SAFETY: host memory that one value owns; the header lets any thread free it.
unsafe impl Send for PinnedHandle {}

impl PinnedHandle {
    /// Memory of so many bytes, all zero.
    pub(crate) fn alloc(runtime: Arc<RuntimeHandle>, bytes: usize) -> Result<Self, Error> {
        let mut out = ptr::null_mut();
        // SAFETY: the runtime is borrowed, and kept in what is made; `out` is a local.
        runtime.shim.check(unsafe {
            (runtime.shim.api.host_alloc)(runtime.pointer.as_ptr(), bytes, &mut out)
        })?;
        let pointer = given(out)?;
        // SAFETY: the shim gave `bytes` bytes, which nobody else knows of.
        unsafe { ptr::write_bytes(pointer.as_ptr().cast::<u8>(), 0, bytes) };
        Ok(PinnedHandle { runtime, pointer, bytes })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A piece of it, which the device is not copying; none past the end.
    pub(crate) fn piece(&mut self, offset: usize, bytes: usize) -> Option<&mut [u8]> {
        let start = self.start_of(offset, bytes)?;
        // SAFETY: `start_of` says that these bytes lie within the memory, which is ours, was written
        // once as a whole, and is borrowed as long as the slice. The slice is of these bytes alone:
        // the device may be copying others. That it does not write into these meanwhile is the
        // caller's care, who alone puts such copies on a stream (`Staging::read`) and waits.
        Some(unsafe { std::slice::from_raw_parts_mut(start, bytes) })
    }

    /// Where a piece begins; none where it reaches past the end.
    fn start_of(&self, offset: usize, bytes: usize) -> Option<*mut u8> {
        offset.checked_add(bytes).filter(|end| *end <= self.bytes)?;
        // SAFETY: the offset is within the memory, or its end.
        Some(unsafe { self.pointer.as_ptr().cast::<u8>().add(offset) })
    }

    /// Puts a copy of a piece to the device on a stream and returns.
    pub(crate) fn upload(
        &mut self,
        stream: &StreamHandle,
        to: u64,
        offset: usize,
        bytes: usize,
    ) -> Result<(), Error> {
        let from = self.start_of(offset, bytes).ok_or_else(outside)?;
        let shim = &self.runtime.shim;
        // SAFETY: the stream is borrowed, and is not captured. The memory that is copied from is
        // used after the call: it is pinned, and its owner waits for the copy before it is freed.
        // `to` is a device address, of a buffer that the stream keeps.
        shim.check(unsafe {
            (shim.api.copy_to_device)(stream.pointer.as_ptr(), to, from.cast(), bytes)
        })
    }

    /// Puts a copy from the device into a piece on a stream and returns: the piece is not to be
    /// looked at before the stream was waited for.
    pub(crate) fn download(
        &mut self,
        stream: &StreamHandle,
        from: u64,
        offset: usize,
        bytes: usize,
    ) -> Result<(), Error> {
        let to = self.start_of(offset, bytes).ok_or_else(outside)?;
        let shim = &self.runtime.shim;
        // SAFETY: as in `upload`.
        shim.check(unsafe {
            (shim.api.copy_to_host)(stream.pointer.as_ptr(), to.cast(), from, bytes)
        })
    }
}

impl Drop for PinnedHandle {
    fn drop(&mut self) {
        // SAFETY: `alloc` got the pointer from this runtime, and it is freed once; `Staging` has
        // waited for the copies of it.
        unsafe {
            (self.runtime.shim.api.host_free)(self.runtime.pointer.as_ptr(), self.pointer.as_ptr());
        }
    }
}

fn outside() -> Error {
    Error::Internal { reason: "a piece lies outside pinned memory".to_owned() }
}

impl BufferHandle {
    /// A file that is mapped, and read by the device where it lies.
    pub(crate) fn map(runtime: Arc<RuntimeHandle>, file: &File) -> Result<Self, MapError> {
        // SAFETY: the memory is never looked at from Rust, so that bytes which another process
        // changes break no rule of Rust's. They are wrong numbers to the device. Whoever makes the
        // file shorter once it is mapped can end this process or lose the device: the pages are
        // locked while it is registered, but CUDA does not say what becomes of a page that is cut
        // off. `Runtime::map_file` asks its caller for files that stay as they are.
        let file = unsafe { Mmap::map(file) }.map_err(MapError::Io)?;
        let mut address = 0;
        // SAFETY: the runtime is borrowed, and kept in what is made; the memory is kept mapped as
        // long as the device may read it: in the handle, which unregisters it first.
        let status = unsafe {
            let (memory, bytes) = (file.as_ptr().cast(), file.len());
            (runtime.shim.api.host_register)(runtime.pointer.as_ptr(), memory, bytes, &mut address)
        };
        runtime.shim.check(status).map_err(MapError::Device)?;
        Ok(BufferHandle { runtime, address, bytes: file.len() as u64, file: Some(file) })
    }
}

/// A file could not be mapped for the device.
pub(crate) enum MapError {
    /// The system does not map it.
    Io(std::io::Error),
    /// The device does not read it.
    Device(Error),
}

impl StreamHandle {
    /// Copies runs of bytes between places on the device.
    pub(crate) fn copy_rows(
        &self,
        (to, to_pitch): (u64, u64),
        (from, from_pitch): (u64, u64),
        row_bytes: usize,
        rows: usize,
    ) -> Result<(), Error> {
        let (shim, stream) = (&self.runtime.shim, self.pointer.as_ptr());
        // SAFETY: the stream is borrowed; the rest are numbers. `Stream::copy_rows` checked that
        // all runs are in buffers, and keeps these until the copy is done.
        shim.check(unsafe {
            (shim.api.copy_rows_on_device)(stream, to, to_pitch, from, from_pitch, row_bytes, rows)
        })
    }
}
