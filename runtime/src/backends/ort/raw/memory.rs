//! Memory on the host that graphs read and write.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::{self, NonNull};
use std::slice;

use crate::backend::BackendError;

/// Alignment of every buffer in bytes: a cache line, and the widest vector register.
const ALIGNMENT: usize = 64;

/// A block of host memory.
///
/// Neither `Send` nor `Sync`: one thread reads, writes and lets graphs run over it. Bytes are copied
/// in and out and never lent, so that no reference is alive when a graph or a copy writes them.
pub(in crate::backends::ort) struct HostBuffer {
    start: NonNull<u8>,
    layout: Layout,
    size: usize,
}

impl HostBuffer {
    /// `size` bytes, all zero. Large blocks come from the system untouched, so that pages which
    /// are never used cost no memory.
    pub(in crate::backends::ort) fn zeroed(size: usize) -> Result<Self, BackendError> {
        let out_of_memory = BackendError::OutOfMemory { bytes: size };
        let Ok(layout) = Layout::from_size_align(size.max(ALIGNMENT), ALIGNMENT) else {
            return Err(out_of_memory);
        };
        // SAFETY: the layout's size is at least `ALIGNMENT`, hence not zero.
        match NonNull::new(unsafe { alloc_zeroed(layout) }) {
            Some(start) => Ok(HostBuffer { start, layout, size }),
            None => Err(out_of_memory),
        }
    }

    pub(in crate::backends::ort) fn size(&self) -> usize {
        self.size
    }

    /// The first byte, for tensors that a graph reads or writes while it runs.
    pub(in crate::backends::ort) fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(in crate::backends::ort) fn write(
        &self,
        offset: usize,
        bytes: &[u8],
    ) -> Result<(), BackendError> {
        let place = self.place(offset, bytes.len())?;
        // SAFETY: `place` is the start of `bytes.len()` bytes of this block, of which no reference
        // exists; `bytes` is one, so it lies elsewhere.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) };
        Ok(())
    }

    /// Copies `bytes` bytes into `out`, in place of what it has.
    pub(in crate::backends::ort) fn read(
        &self,
        offset: usize,
        bytes: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), BackendError> {
        let place = self.place(offset, bytes)?;
        out.clear();
        // SAFETY: `place` is the start of `bytes` initialised bytes (zero or written since) of this
        // block. Nothing writes them while the slice is alive, which ends with this statement: this
        // thread, the only one that has the block, is here.
        out.extend_from_slice(unsafe { slice::from_raw_parts(place, bytes) });
        Ok(())
    }

    pub(in crate::backends::ort) fn copy_from(
        &self,
        offset: usize,
        source: &HostBuffer,
        source_offset: usize,
        bytes: usize,
    ) -> Result<(), BackendError> {
        let from = source.place(source_offset, bytes)?;
        let to = self.place(offset, bytes)?;
        // SAFETY: both are starts of `bytes` bytes of their blocks; `copy` allows overlap.
        unsafe { ptr::copy(from, to, bytes) };
        Ok(())
    }

    /// The address of `bytes` bytes that lie inside the block.
    fn place(&self, offset: usize, bytes: usize) -> Result<*mut u8, BackendError> {
        let end = offset.saturating_add(bytes);
        if end > self.size {
            return Err(BackendError::OutOfBounds { offset, end, size: self.size });
        }
        // SAFETY: `offset <= end <= size`, so the address is inside the block or one behind it.
        Ok(unsafe { self.start.as_ptr().add(offset) })
    }
}

impl Drop for HostBuffer {
    fn drop(&mut self) {
        // SAFETY: allocated in `zeroed` with this layout and freed nowhere else.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(buffer: &HostBuffer, offset: usize, bytes: usize) -> Result<Vec<u8>, BackendError> {
        let mut out = vec![9];
        buffer.read(offset, bytes, &mut out).map(|()| out)
    }

    #[test]
    fn what_is_written_is_read_and_the_rest_is_zero() {
        let buffer = HostBuffer::zeroed(8).unwrap();
        buffer.write(2, &[1, 2, 3]).unwrap();
        assert_eq!(read(&buffer, 0, 8).unwrap(), [0, 0, 1, 2, 3, 0, 0, 0]);
        buffer.copy_from(3, &buffer, 2, 3).unwrap();
        assert_eq!(read(&buffer, 0, 8).unwrap(), [0, 0, 1, 1, 2, 3, 0, 0]);
    }

    #[test]
    fn nothing_outside_is_touched() {
        let buffer = HostBuffer::zeroed(4).unwrap();
        let message = buffer.write(2, &[0; 3]).unwrap_err().to_string();
        assert_eq!(message, "bytes 2..5 of a buffer of 4 bytes were asked for");
        assert!(read(&buffer, usize::MAX, 2).is_err());
        assert!(buffer.copy_from(0, &buffer, 3, 2).is_err());
    }

    #[test]
    fn absurd_sizes_are_refused() {
        assert!(matches!(
            HostBuffer::zeroed(usize::MAX),
            Err(BackendError::OutOfMemory { bytes: usize::MAX })
        ));
    }
}
