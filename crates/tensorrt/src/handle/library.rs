//! A loaded TensorRT.

use std::path::{Path, PathBuf};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use super::{Shim, c_path, given, text};
use crate::error::Error;
use crate::sys;

/// Owns a `cumo_trt_library`.
pub(crate) struct LibraryHandle {
    pub(super) shim: Arc<Shim>,
    pub(super) pointer: NonNull<sys::Library>,
}

// SAFETY: the header: a library may be used by several threads at once.
unsafe impl Send for LibraryHandle {}
// SAFETY: the same.
unsafe impl Sync for LibraryHandle {}

impl LibraryHandle {
    pub(crate) fn open(shim: Arc<Shim>, folder: Option<&Path>) -> Result<Arc<Self>, Error> {
        let folder = folder.map(c_path).transpose()?;
        let folder = folder.as_ref().map_or(ptr::null(), |folder| folder.as_ptr());
        let mut out = ptr::null_mut();
        // SAFETY: the contract.
        shim.check(unsafe { (shim.api.library_open)(folder, &mut out) })?;
        Ok(Arc::new(LibraryHandle { pointer: given(out)?, shim }))
    }

    pub(crate) fn version(&self) -> String {
        // SAFETY: the contract; the text belongs to the library.
        unsafe { text((self.shim.api.library_version)(self.pointer.as_ptr())) }
    }

    pub(crate) fn path(&self) -> PathBuf {
        // SAFETY: the contract; the text belongs to the library.
        PathBuf::from(unsafe { text((self.shim.api.library_path)(self.pointer.as_ptr())) })
    }

    pub(crate) fn can_build(&self) -> bool {
        // SAFETY: the contract.
        unsafe { (self.shim.api.library_can_build)(self.pointer.as_ptr()) != 0 }
    }

    pub(crate) fn load_plugins(&self, path: &Path) -> Result<(), Error> {
        let path = c_path(path)?;
        // SAFETY: the contract.
        self.shim.check(unsafe {
            (self.shim.api.library_load_plugins)(self.pointer.as_ptr(), path.as_ptr())
        })
    }

    pub(crate) fn check_engine(&self, engine: &[u8]) -> Result<(), Error> {
        // SAFETY: the contract.
        self.shim.check(unsafe {
            let bytes = engine.as_ptr().cast();
            (self.shim.api.engine_check)(self.pointer.as_ptr(), bytes, engine.len())
        })
    }
}

impl Drop for LibraryHandle {
    fn drop(&mut self) {
        // SAFETY: the pointer is ours, and what was made from it holds an `Arc` of this.
        unsafe { (self.shim.api.library_free)(self.pointer.as_ptr()) }
    }
}
