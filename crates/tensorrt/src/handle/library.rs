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
        // SAFETY: the folder's name is null or a local text; `out` is a local.
        shim.check(unsafe { (shim.api.library_open)(folder, &mut out) })?;
        Ok(Arc::new(LibraryHandle { pointer: given(out)?, shim }))
    }

    pub(crate) fn version(&self) -> String {
        // SAFETY: the library is borrowed; the text belongs to it, and is copied.
        unsafe { text((self.shim.api.library_version)(self.pointer.as_ptr())) }
    }

    pub(crate) fn path(&self) -> PathBuf {
        // SAFETY: the library is borrowed; the text belongs to it, and is copied.
        PathBuf::from(unsafe { text((self.shim.api.library_path)(self.pointer.as_ptr())) })
    }

    pub(crate) fn can_build(&self) -> bool {
        // SAFETY: the library is borrowed, and nothing else is passed.
        unsafe { (self.shim.api.library_can_build)(self.pointer.as_ptr()) != 0 }
    }

    pub(crate) fn load_plugins(&self, path: &Path) -> Result<(), Error> {
        let path = c_path(path)?;
        // SAFETY: library and path are borrowed; the shim takes a library by several threads at
        // once, and loads a file once. What the file does is its maker's promise, as `Library`
        // says to who names it.
        self.shim.check(unsafe {
            (self.shim.api.library_load_plugins)(self.pointer.as_ptr(), path.as_ptr())
        })
    }

    pub(crate) fn check_engine(&self, engine: &[u8]) -> Result<(), Error> {
        // SAFETY: library and bytes are borrowed during the call, and read only.
        self.shim.check(unsafe {
            let bytes = engine.as_ptr().cast();
            (self.shim.api.engine_check)(self.pointer.as_ptr(), bytes, engine.len())
        })
    }
}

impl Drop for LibraryHandle {
    fn drop(&mut self) {
        // SAFETY: `open` got the pointer, and it is freed once; what was made from it holds an
        // `Arc` of this, so that all of that is freed by now.
        unsafe { (self.shim.api.library_free)(self.pointer.as_ptr()) }
    }
}
