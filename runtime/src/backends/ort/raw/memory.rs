//! Memory on the host that graphs read and write, and files that they read.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::fs::File;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::slice;

use memmap2::Mmap;

use crate::backend::BackendError;

/// Alignment of every buffer in bytes: a cache line, and the widest vector register.
const ALIGNMENT: usize = 64;

/// A block of host memory, or a file as one.
///
/// Neither `Send` nor `Sync`: one thread reads, writes and lets graphs run over it. Bytes are copied
/// in and out and never lent, so that no reference is alive when a graph or a copy writes them.
///
/// # Contract
/// While a file is mapped, nobody changes or cuts it: graphs would compute with what it then
/// holds, and reading behind a new end stops the process with SIGBUS. No portable call can rule
/// either out, so this is the promise of whoever names the bundle, as for the files that ONNX
/// Runtime maps itself.
pub(in crate::backends::ort) struct HostBuffer {
    start: NonNull<u8>,
    size: usize,
    origin: Origin,
}

/// Where the memory comes from.
enum Origin {
    Allocated(Layout),
    /// Kept for as long as `start` is used; none for an empty file, which cannot be mapped.
    Mapped {
        _map: Option<Mmap>,
    },
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
            Some(start) => Ok(HostBuffer { start, size, origin: Origin::Allocated(layout) }),
            None => Err(out_of_memory),
        }
    }

    /// All bytes of the regular file at `path`, which are only read, and brought in by the system
    /// page by page as they are.
    pub(in crate::backends::ort) fn mapped(path: &Path) -> Result<Self, BackendError> {
        let failed = |reason: String| BackendError::Weights { file: path.to_owned(), reason };
        let io = |error: std::io::Error| failed(error.to_string());
        // Before it is opened: opening a pipe would wait.
        if !std::fs::metadata(path).map_err(io)?.is_file() {
            return Err(failed("not a file".to_owned()));
        }
        let file = File::open(path).map_err(io)?;
        let map = match file.metadata().map_err(io)?.len() {
            0 => None,
            // SAFETY: nothing in this process writes to the map, which is private to this buffer
            // and read-only (`write`, `copy_from` and `output` refuse it); that no other process
            // changes the file is the contract of `HostBuffer`.
            _ => Some(unsafe { Mmap::map(&file) }.map_err(io)?),
        };
        let bytes: &[u8] = map.as_deref().unwrap_or_default();
        let start = NonNull::from(bytes).cast();
        Ok(HostBuffer { start, size: bytes.len(), origin: Origin::Mapped { _map: map } })
    }

    pub(in crate::backends::ort) fn size(&self) -> usize {
        self.size
    }

    /// The address of `bytes` bytes that a graph reads while it runs.
    pub(in crate::backends::ort) fn input(
        &self,
        offset: usize,
        bytes: usize,
    ) -> Result<*mut u8, BackendError> {
        self.place(offset, bytes)
    }

    /// The address of `bytes` bytes that a graph writes while it runs.
    pub(in crate::backends::ort) fn output(
        &self,
        offset: usize,
        bytes: usize,
    ) -> Result<*mut u8, BackendError> {
        match self.origin {
            Origin::Allocated(_) => self.place(offset, bytes),
            Origin::Mapped { .. } => Err(BackendError::ReadOnly),
        }
    }

    pub(in crate::backends::ort) fn write(
        &self,
        offset: usize,
        bytes: &[u8],
    ) -> Result<(), BackendError> {
        let place = self.output(offset, bytes.len())?;
        // SAFETY: `place` is the start of `bytes.len()` bytes of this block, which may be written
        // and of which no reference exists; `bytes` is one, so it lies elsewhere.
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
        // SAFETY: `place` is the start of `bytes` initialised bytes (zero, a file's, or written since) of this
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
        let to = self.output(offset, bytes)?;
        // SAFETY: both are starts of `bytes` bytes of their blocks, of which `to`'s may be written;
        // `copy` allows overlap.
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
        if let Origin::Allocated(layout) = self.origin {
            // SAFETY: allocated in `zeroed` with this layout and freed nowhere else.
            unsafe { dealloc(self.start.as_ptr(), layout) };
        }
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
    fn a_mapped_file_is_read_and_never_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        std::fs::write(&path, [1, 2, 3, 4]).unwrap();
        let file = HostBuffer::mapped(&path).unwrap();
        let block = HostBuffer::zeroed(4).unwrap();
        block.copy_from(1, &file, 2, 2).unwrap();
        assert_eq!(read(&block, 0, 4).unwrap(), [0, 3, 4, 0]);
        assert!(file.input(1, 3).is_ok());
        assert!(matches!(file.input(1, 4), Err(BackendError::OutOfBounds { end: 5, size: 4, .. })));
        assert!(matches!(file.output(0, 1), Err(BackendError::ReadOnly)));
        assert!(matches!(file.write(0, &[1]), Err(BackendError::ReadOnly)));
        assert!(matches!(file.copy_from(0, &block, 0, 1), Err(BackendError::ReadOnly)));
        drop(file);
        assert_eq!(std::fs::read(&path).unwrap(), [1, 2, 3, 4]);
    }

    #[test]
    fn what_cannot_be_mapped_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let message = |path: &Path| HostBuffer::mapped(path).err().unwrap().to_string();
        let gone = folder.path().join("gone");
        assert!(message(&gone).starts_with(&format!("{}: ", gone.display())));
        assert!(message(folder.path()).ends_with(": not a file"));
        std::fs::write(&gone, []).unwrap();
        assert_eq!(HostBuffer::mapped(&gone).unwrap().size(), 0);
    }

    #[test]
    fn absurd_sizes_are_refused() {
        assert!(matches!(
            HostBuffer::zeroed(usize::MAX),
            Err(BackendError::OutOfMemory { bytes: usize::MAX })
        ));
    }
}
