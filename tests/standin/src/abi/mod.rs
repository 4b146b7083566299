//! The functions of the header. What each does, and who owns what, stands there; pointers that are
//! given must be what it says, which is each function's safety contract.
#![allow(unsafe_code, reason = "is a C library")]
#![allow(clippy::missing_safety_doc, reason = "the header is the contract")]
#![allow(unreachable_pub, reason = "exported from the shared object")]

mod building;
mod context;
mod kernels;
mod library;
mod memory;
mod runtime;
mod status;
mod stream;
#[cfg(test)]
mod tests;

use std::ffi::{CStr, CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::Arc;

use crate::fault::{Fault, INTERNAL, Result};
use crate::journal::Journal;
use crate::objects::{self, Object};
use crate::sys;

/// Does what a function does; its fault becomes a status.
fn guard(action: impl FnOnce() -> Result<()>) -> *mut sys::Status {
    let done = catch_unwind(AssertUnwindSafe(action));
    let fault = match done {
        Ok(Ok(())) => return ptr::null_mut(),
        Ok(Err(fault)) => fault,
        Err(_) => Fault::new(INTERNAL, "the stand-in panicked"),
    };
    objects::put(Arc::new(status::Status::new(fault)), 0)
}

/// Writes to an out parameter.
///
/// # Safety
/// `out` is null or may be written to.
unsafe fn give<T>(out: *mut T, value: T) -> Result<()> {
    if out.is_null() {
        return Err(Fault::argument("an out parameter is null"));
    }
    // SAFETY: the caller's promise.
    unsafe { out.write(value) };
    Ok(())
}

/// A text that was given.
///
/// # Safety
/// `text` is null or ends with a NUL.
unsafe fn text(text: *const c_char) -> Result<String> {
    if text.is_null() {
        return Err(Fault::argument("a text is null"));
    }
    // SAFETY: the caller's promise.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map(str::to_owned).map_err(|_| Fault::argument("a text is not UTF-8"))
}

/// A text to give out.
fn c_text(text: &str) -> CString {
    CString::new(text.replace('\0', " ")).unwrap_or_default()
}

/// A slice that was given.
///
/// # Safety
/// `data` points to `length` values, or is null and `length` 0.
unsafe fn slice<'a, T>(data: *const T, length: usize) -> Result<&'a [T]> {
    match (data.is_null(), length) {
        (_, 0) => Ok(&[]),
        (true, _) => Err(Fault::argument("an array is null")),
        // SAFETY: the caller's promise.
        (false, _) => Ok(unsafe { std::slice::from_raw_parts(data, length) }),
    }
}

/// Writes a shape into an array with room for the longest.
///
/// # Safety
/// `out` is null or has room for as many numbers.
unsafe fn give_shape(out: *mut i64, shape: &[i64]) -> Result<()> {
    for (index, size) in shape.iter().enumerate().take(sys::MAX_RANK) {
        // SAFETY: the caller's promise.
        unsafe { give(out.wrapping_add(index), *size) }?;
    }
    Ok(())
}

/// A shape as the header's structs have it.
fn fixed_shape(shape: &[i64]) -> [i64; sys::MAX_RANK] {
    std::array::from_fn(|index| shape.get(index).copied().unwrap_or_default())
}

/// A callback for messages, which lives as long as its builder or runtime.
#[derive(Clone, Copy)]
struct Log {
    call: Option<sys::LogFn>,
    user: usize,
    max_severity: i32,
}

impl Log {
    /// # Safety
    /// `log` is null or as the header says.
    unsafe fn new(log: *const sys::Log) -> Log {
        // SAFETY: the caller's promise.
        match unsafe { log.as_ref() } {
            None => Log { call: None, user: 0, max_severity: 0 },
            Some(log) => {
                let user = log.user.expose_provenance();
                Log { call: log.call, user, max_severity: log.max_severity }
            }
        }
    }

    /// Sends a message.
    fn send(&self, severity: i32, text: &str) {
        let Some(call) = self.call.filter(|_| severity <= self.max_severity) else { return };
        let c = c_text(text);
        let user = ptr::with_exposed_provenance_mut(self.user);
        // SAFETY: the header: the callback may be called as long as the builder or runtime lives.
        unsafe { call(user, severity, c.as_ptr(), c.count_bytes()) };
    }
}

/// Bytes that are given out.
struct Blob {
    bytes: Vec<u8>,
    journal: Arc<Journal>,
}

impl Object for Blob {
    const KIND: &'static str = "blob";

    fn journal(&self) -> Option<Arc<Journal>> {
        Some(self.journal.clone())
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_blob_data(blob: *const sys::Blob) -> *const std::ffi::c_void {
    match objects::get::<Blob, _>(blob) {
        Ok(blob) => blob.bytes.as_ptr().cast(),
        Err(_) => ptr::null(),
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_blob_bytes(blob: *const sys::Blob) -> usize {
    objects::get::<Blob, _>(blob).map_or(0, |blob| blob.bytes.len())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_blob_free(blob: *mut sys::Blob) {
    objects::free::<Blob, _>(blob);
}
