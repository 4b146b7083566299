//! The kernels of this project's plugin.

use std::ffi::c_char;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::library::check_plugin;
use super::runtime::Runtime;
use super::stream::Stream;
use super::{give, guard, text};
use crate::device::Device;
use crate::fault::{Fault, Result};
use crate::journal::Journal;
use crate::objects::{self, Object};
use crate::queue::Work;
use crate::rows::RowWrite;
use crate::sys::{self, code};

struct Kernels {
    device: Arc<Device>,
    /// Whether CUDA has loaded the kernel, as it does at its first use.
    has_run: AtomicBool,
}

impl Object for Kernels {
    const KIND: &'static str = "kernels";

    fn journal(&self) -> Option<Arc<Journal>> {
        Some(self.device.journal.clone())
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_kernels_load(
    runtime: *mut sys::Runtime,
    path: *const c_char,
    out: *mut *mut sys::Kernels,
) -> *mut sys::Status {
    guard(|| {
        // SAFETY: the header.
        unsafe { give(out, ptr::null_mut()) }?;
        let parent = objects::number(runtime);
        let device = objects::get::<Runtime, _>(runtime)?.device.clone();
        // SAFETY: the header.
        let path = unsafe { text(path) }?;
        let mut state = device.call(|| "load kernels".to_owned())?;
        device.refuse_in_capture(&mut state, "kernels were loaded")?;
        drop(state);
        check_plugin(&path)?;
        if !device.settings.has_kernels {
            let text = format!("{path} has no kernels that write rows: it has none");
            return Err(Fault::new(code::PLUGIN, text));
        }
        let kernels = Kernels { device, has_run: AtomicBool::new(false) };
        // SAFETY: the header.
        unsafe { give(out, objects::put(Arc::new(kernels), parent)) }
    })
}

/// A size, which is not negative.
fn size(number: i32) -> Result<u64> {
    u64::try_from(number).map_err(|_| Fault::argument(format!("a size is {number}")))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_kernels_write_rows(
    kernels: *mut sys::Kernels,
    stream: *mut sys::Stream,
    write: *const sys::WriteRows,
) -> *mut sys::Status {
    guard(|| {
        let kernels = objects::get::<Kernels, _>(kernels)?;
        let stream = objects::get::<Stream, _>(stream)?;
        // SAFETY: the header.
        let write = unsafe { write.as_ref() }.ok_or_else(|| Fault::argument("write is null"))?;
        let write = RowWrite {
            rows: write.rows,
            indices: write.indices,
            cache: write.cache,
            batch: size(write.batch)?,
            heads: size(write.heads)?,
            sequence: size(write.sequence)?,
            pitch: size(write.pitch)?,
            position_bytes: size(write.position_bytes)?,
        };
        let device = &kernels.device;
        let number = stream.number;
        let mut state = device.call(|| format!("stream {number}: write rows"))?;
        if Device::is_captured(&state, number) && !kernels.has_run.load(Ordering::Relaxed) {
            let what = "a kernel was put on a stream for the first time";
            return device.refuse_in_capture(&mut state, what);
        }
        kernels.has_run.store(true, Ordering::Relaxed);
        device.put(&mut state, number, Work::WriteRows(write))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_kernels_free(kernels: *mut sys::Kernels) {
    objects::free::<Kernels, _>(kernels);
}
