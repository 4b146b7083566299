//! Device memory, streams, events and graphs.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use memmap2::Mmap;

use super::{RuntimeHandle, given};
use crate::error::Error;
use crate::sys;

/// Owns device memory, or a file of the host's that the device reads where it is mapped.
pub(crate) struct BufferHandle {
    pub(super) runtime: Arc<RuntimeHandle>,
    pub(crate) address: u64,
    pub(crate) bytes: u64,
    /// Dropped after the device was told to forget it.
    pub(super) file: Option<Mmap>,
}

impl BufferHandle {
    pub(crate) fn alloc(runtime: Arc<RuntimeHandle>, bytes: u64) -> Result<Self, Error> {
        let mut address = 0;
        // SAFETY: the contract.
        runtime.shim.check(unsafe {
            (runtime.shim.api.buffer_alloc)(runtime.pointer.as_ptr(), bytes, &mut address)
        })?;
        Ok(BufferHandle { runtime, address, bytes, file: None })
    }
}

impl Drop for BufferHandle {
    fn drop(&mut self) {
        let (api, runtime) = (&self.runtime.shim.api, self.runtime.pointer.as_ptr());
        match &self.file {
            // SAFETY: the address is ours; CUDA waits for what uses it before it is freed.
            None => unsafe { (api.buffer_free)(runtime, self.address) },
            // SAFETY: the memory was registered with this runtime, and is mapped still.
            Some(file) => unsafe { (api.host_unregister)(runtime, file.as_ptr().cast()) },
        }
    }
}

/// Owns a `cumo_trt_stream`, which one thread uses at a time.
pub(crate) struct StreamHandle {
    pub(super) runtime: Arc<RuntimeHandle>,
    pub(super) pointer: NonNull<sys::Stream>,
    _not_sync: PhantomData<Cell<()>>,
}

// SAFETY: the header: a stream may move between threads; it is not `Sync`.
unsafe impl Send for StreamHandle {}

impl StreamHandle {
    pub(crate) fn create(runtime: Arc<RuntimeHandle>) -> Result<Self, Error> {
        let mut out = ptr::null_mut();
        // SAFETY: the contract.
        runtime.shim.check(unsafe {
            (runtime.shim.api.stream_create)(runtime.pointer.as_ptr(), &mut out)
        })?;
        Ok(StreamHandle { pointer: given(out)?, runtime, _not_sync: PhantomData })
    }

    /// Copies to the device, and waits: `from` is read while it is borrowed, and not later.
    pub(crate) fn write(&self, to: u64, from: &[u8]) -> Result<(), Error> {
        let (shim, stream) = (&self.runtime.shim, self.pointer.as_ptr());
        // SAFETY: the contract; the caller keeps `to` within a buffer. Waiting ends the use of
        // `from`. While the stream is captured, waiting fails and spoils the capture: no graph
        // comes of it that could read `from` later.
        shim.check(unsafe {
            (shim.api.copy_to_device)(stream, to, from.as_ptr().cast(), from.len())
        })?;
        self.synchronize()
    }

    /// Copies from the device, and waits: `to` is written while it is borrowed, and not later.
    pub(crate) fn read(&self, to: &mut [u8], from: u64) -> Result<(), Error> {
        let (shim, stream) = (&self.runtime.shim, self.pointer.as_ptr());
        // SAFETY: as in `write`.
        shim.check(unsafe {
            (shim.api.copy_to_host)(stream, to.as_mut_ptr().cast(), from, to.len())
        })?;
        self.synchronize()
    }

    pub(crate) fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<(), Error> {
        let (shim, stream) = (&self.runtime.shim, self.pointer.as_ptr());
        // SAFETY: the contract; the caller keeps both within buffers.
        shim.check(unsafe { (shim.api.copy_on_device)(stream, to, from, bytes) })
    }

    pub(crate) fn fill(&self, to: u64, value: u8, bytes: usize) -> Result<(), Error> {
        let (shim, stream) = (&self.runtime.shim, self.pointer.as_ptr());
        // SAFETY: the contract; the caller keeps the range within a buffer.
        shim.check(unsafe { (shim.api.fill)(stream, to, value, bytes) })
    }

    pub(crate) fn synchronize(&self) -> Result<(), Error> {
        let shim = &self.runtime.shim;
        // SAFETY: the contract.
        shim.check(unsafe { (shim.api.stream_synchronize)(self.pointer.as_ptr()) })
    }

    pub(crate) fn wait(&self, event: &EventHandle) -> Result<(), Error> {
        let (shim, stream) = (&self.runtime.shim, self.pointer.as_ptr());
        // SAFETY: the contract.
        shim.check(unsafe { (shim.api.stream_wait)(stream, event.pointer.as_ptr()) })
    }

    pub(crate) fn begin_graph(&self) -> Result<(), Error> {
        let shim = &self.runtime.shim;
        // SAFETY: the contract.
        shim.check(unsafe { (shim.api.graph_begin)(self.pointer.as_ptr()) })
    }

    pub(crate) fn end_graph(&self) -> Result<GraphHandle, Error> {
        let shim = &self.runtime.shim;
        let mut out = ptr::null_mut();
        // SAFETY: the contract.
        shim.check(unsafe { (shim.api.graph_end)(self.pointer.as_ptr(), &mut out) })?;
        let runtime = self.runtime.clone();
        Ok(GraphHandle { pointer: given(out)?, runtime, _not_sync: PhantomData })
    }
}

impl Drop for StreamHandle {
    fn drop(&mut self) {
        // SAFETY: the pointer is ours.
        unsafe { (self.runtime.shim.api.stream_free)(self.pointer.as_ptr()) }
    }
}

/// Owns a `cumo_trt_event`, which one thread uses at a time.
pub(crate) struct EventHandle {
    runtime: Arc<RuntimeHandle>,
    pointer: NonNull<sys::Event>,
    _not_sync: PhantomData<Cell<()>>,
}

// SAFETY: the header: an event may move between threads; it is not `Sync`.
unsafe impl Send for EventHandle {}

impl EventHandle {
    pub(crate) fn create(runtime: Arc<RuntimeHandle>) -> Result<Self, Error> {
        let mut out = ptr::null_mut();
        // SAFETY: the contract.
        runtime.shim.check(unsafe {
            (runtime.shim.api.event_create)(runtime.pointer.as_ptr(), &mut out)
        })?;
        Ok(EventHandle { pointer: given(out)?, runtime, _not_sync: PhantomData })
    }

    pub(crate) fn record(&self, stream: &StreamHandle) -> Result<(), Error> {
        let shim = &self.runtime.shim;
        // SAFETY: the contract.
        shim.check(unsafe {
            (shim.api.event_record)(self.pointer.as_ptr(), stream.pointer.as_ptr())
        })
    }

    pub(crate) fn synchronize(&self) -> Result<(), Error> {
        let shim = &self.runtime.shim;
        // SAFETY: the contract.
        shim.check(unsafe { (shim.api.event_synchronize)(self.pointer.as_ptr()) })
    }

    /// Milliseconds until another event.
    pub(crate) fn elapsed(&self, end: &EventHandle) -> Result<f32, Error> {
        let shim = &self.runtime.shim;
        let mut milliseconds = 0.0;
        // SAFETY: the contract.
        shim.check(unsafe {
            let (start, end) = (self.pointer.as_ptr(), end.pointer.as_ptr());
            (shim.api.event_elapsed)(start, end, &mut milliseconds)
        })?;
        Ok(milliseconds)
    }
}

impl Drop for EventHandle {
    fn drop(&mut self) {
        // SAFETY: the pointer is ours.
        unsafe { (self.runtime.shim.api.event_free)(self.pointer.as_ptr()) }
    }
}

/// Owns a `cumo_trt_graph`, which one thread uses at a time.
pub(crate) struct GraphHandle {
    runtime: Arc<RuntimeHandle>,
    pointer: NonNull<sys::Graph>,
    _not_sync: PhantomData<Cell<()>>,
}

// SAFETY: the header: a graph may move between threads; it is not `Sync`.
unsafe impl Send for GraphHandle {}

impl GraphHandle {
    pub(crate) fn launch(&self, stream: &StreamHandle) -> Result<(), Error> {
        let shim = &self.runtime.shim;
        // SAFETY: the contract. A graph holds device addresses only, see `StreamHandle::write`.
        shim.check(unsafe {
            (shim.api.graph_launch)(self.pointer.as_ptr(), stream.pointer.as_ptr())
        })
    }
}

impl Drop for GraphHandle {
    fn drop(&mut self) {
        // SAFETY: the pointer is ours.
        unsafe { (self.runtime.shim.api.graph_free)(self.pointer.as_ptr()) }
    }
}
