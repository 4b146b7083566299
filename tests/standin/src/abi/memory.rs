//! Memory of the device, and of the host where the device reads and writes it.

use std::alloc::{Layout, alloc, dealloc};
use std::ffi::c_void;
use std::ptr::{self, NonNull};

use super::runtime::Runtime;
use super::{give, guard};
use crate::device::Pinned;
use crate::fault::Fault;
use crate::memory::{HostAddress, POISON};
use crate::objects;
use crate::sys::{self, code};

/// Pinned memory begins at a multiple of this.
const ALIGNMENT: usize = 256;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_buffer_alloc(
    runtime: *mut sys::Runtime,
    bytes: u64,
    address: *mut u64,
) -> *mut sys::Status {
    guard(|| {
        // SAFETY: the header.
        unsafe { give(address, 0) }?;
        let runtime = objects::get::<Runtime, _>(runtime)?;
        let device = &runtime.device;
        let mut state = device.call(|| format!("allocate {bytes} bytes"))?;
        device.refuse_in_capture(&mut state, "memory was allocated")?;
        if bytes == 0 {
            return Err(Fault::new(code::CUDA, "an allocation of no bytes"));
        }
        device.allocation(&mut state, bytes, "a buffer")?;
        let made = state.memory.alloc(bytes, runtime.number);
        let full = || Fault::new(code::OUT_OF_MEMORY, format!("the host has no {bytes} bytes"));
        // SAFETY: the header.
        unsafe { give(address, made.ok_or_else(full)?) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_buffer_free(runtime: *mut sys::Runtime, address: u64) {
    let Ok(runtime) = objects::get::<Runtime, _>(runtime) else { return };
    let device = &runtime.device;
    device.journal.trace(|| format!("free {address:#x}"));
    let mut state = device.state();
    // Their faults are written down; the call itself has no status.
    drop(device.refuse_in_capture(&mut state, "memory was freed"));
    // CUDA waits for what uses the memory.
    drop(device.run_all(&mut state));
    if let Err(why) = state.memory.free(address) {
        device.journal.violation(why);
    }
}

fn layout(bytes: usize) -> Option<Layout> {
    Layout::from_size_align(bytes.max(1), ALIGNMENT).ok()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_host_alloc(
    runtime: *mut sys::Runtime,
    bytes: usize,
    out: *mut *mut c_void,
) -> *mut sys::Status {
    guard(|| {
        // SAFETY: the header.
        unsafe { give(out, ptr::null_mut()) }?;
        let runtime = objects::get::<Runtime, _>(runtime)?;
        let device = &runtime.device;
        let mut state = device.call(|| format!("pin {bytes} bytes"))?;
        device.refuse_in_capture(&mut state, "pinned memory was allocated")?;
        device.allocation(&mut state, 0, "pinned memory")?;
        let memory = layout(bytes).and_then(|layout| {
            // SAFETY: the layout is of one byte at least.
            NonNull::new(unsafe { alloc(layout) })
        });
        let text = || Fault::new(code::OUT_OF_MEMORY, format!("{bytes} bytes of pinned memory"));
        let memory = memory.ok_or_else(text)?;
        // SAFETY: it was allocated with so many bytes.
        unsafe { memory.write_bytes(POISON, bytes) };
        let pinned = Pinned { bytes: bytes as u64, owner: runtime.number };
        state.pinned.insert(memory.addr().get(), pinned);
        // SAFETY: the header.
        unsafe { give(out, memory.as_ptr().cast()) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_host_free(runtime: *mut sys::Runtime, memory: *mut c_void) {
    let Ok(runtime) = objects::get::<Runtime, _>(runtime) else { return };
    let Some(start) = NonNull::new(memory.cast::<u8>()) else { return };
    let device = &runtime.device;
    let mut state = device.state();
    drop(device.refuse_in_capture(&mut state, "pinned memory was freed"));
    let Some(pinned) = state.pinned.remove(&start.addr().get()) else {
        device.journal.violation("pinned memory was freed that is none");
        return;
    };
    if state.uses_host(HostAddress(start), pinned.bytes) {
        device.journal.violation("pinned memory was freed while a copy that uses it was not done");
        // So that the copy finds it.
        drop(device.run_all(&mut state));
    }
    let Some(layout) = layout(usize::try_from(pinned.bytes).unwrap_or_default()) else { return };
    // SAFETY: it was allocated with this layout, and is in the table no more.
    unsafe { dealloc(start.as_ptr(), layout) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_host_register(
    runtime: *mut sys::Runtime,
    memory: *const c_void,
    bytes: usize,
    address: *mut u64,
) -> *mut sys::Status {
    guard(|| {
        // SAFETY: the header.
        unsafe { give(address, 0) }?;
        let runtime = objects::get::<Runtime, _>(runtime)?;
        let device = &runtime.device;
        let mut state = device.call(|| format!("register {bytes} bytes of the host"))?;
        device.refuse_in_capture(&mut state, "memory was registered")?;
        if !device.facts.is_integrated {
            let text = "the device reads no memory of the host where it lies";
            return Err(Fault::new(code::UNSUPPORTED, text));
        }
        let start = NonNull::new(memory.cast_mut().cast::<u8>());
        let start = start.filter(|_| bytes > 0);
        let start = start.ok_or_else(|| Fault::argument("no memory to register"))?;
        if !start.addr().get().is_multiple_of(4096) {
            return Err(Fault::argument("memory to register begins within a page"));
        }
        device.allocation(&mut state, bytes as u64, "memory of the host that is locked")?;
        let mapped = state.memory.map(HostAddress(start), bytes as u64, runtime.number);
        // SAFETY: the header.
        unsafe { give(address, mapped) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_host_unregister(
    runtime: *mut sys::Runtime,
    memory: *const c_void,
) {
    let Ok(runtime) = objects::get::<Runtime, _>(runtime) else { return };
    let Some(start) = NonNull::new(memory.cast_mut().cast::<u8>()) else { return };
    let device = &runtime.device;
    let mut state = device.state();
    drop(device.refuse_in_capture(&mut state, "memory was unregistered"));
    let Some((address, bytes)) = state.memory.unmap(HostAddress(start)) else {
        device.journal.violation("memory was unregistered that is not registered");
        return;
    };
    if state.uses_device(address, bytes) {
        device.journal.violation("memory was unregistered while work that uses it was not done");
    }
}
