//! This project's own kernels.

use std::cell::Cell;
use std::marker::PhantomData;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use super::{RuntimeHandle, StreamHandle, c_path, given};
use crate::error::Error;
use crate::sys;

/// Owns a `cumo_trt_kernels`, which one thread uses at a time.
pub(crate) struct KernelsHandle {
    runtime: Arc<RuntimeHandle>,
    pointer: NonNull<sys::Kernels>,
    _not_sync: PhantomData<Cell<()>>,
}

// SAFETY: the header: kernels may move between threads; they are not `Sync`.
unsafe impl Send for KernelsHandle {}

impl KernelsHandle {
    pub(crate) fn load(runtime: Arc<RuntimeHandle>, path: &Path) -> Result<Self, Error> {
        let path = c_path(path)?;
        let mut out = ptr::null_mut();
        // SAFETY: runtime and path are borrowed, the runtime is kept in what is made; `out` is a
        // local. What loading the file does is its maker's promise, as `Runtime::kernels` says; its
        // functions are looked up by names that only this project's plugin has.
        runtime.shim.check(unsafe {
            (runtime.shim.api.kernels_load)(runtime.pointer.as_ptr(), path.as_ptr(), &mut out)
        })?;
        Ok(KernelsHandle { pointer: given(out)?, runtime, _not_sync: PhantomData })
    }

    pub(crate) fn write_rows(
        &self,
        stream: &StreamHandle,
        write: &sys::WriteRows,
    ) -> Result<(), Error> {
        let shim = &self.runtime.shim;
        // SAFETY: kernels, stream and `write` are borrowed. The addresses are a device's, through
        // which no host memory can be harmed; `Stream::write_rows` checked that what they stand for
        // is in buffers, which the stream keeps, and the kernel writes nowhere else whatever the
        // indices are. The shim keeps the library loaded, so that a recorded kernel stays there.
        shim.check(unsafe {
            let (kernels, stream) = (self.pointer.as_ptr(), stream.pointer.as_ptr());
            (shim.api.kernels_write_rows)(kernels, stream, write)
        })
    }
}

impl Drop for KernelsHandle {
    fn drop(&mut self) {
        // SAFETY: `load` got the pointer, and it is freed once; the header says that work which was
        // put on a stream does not need it.
        unsafe { (self.runtime.shim.api.kernels_free)(self.pointer.as_ptr()) }
    }
}
