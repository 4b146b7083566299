//! Device memory, streams, events and graphs.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use memmap2::Mmap;

use super::{RuntimeHandle, given};
use crate::error::Error;
use crate::sys;
use crate::work::Used;

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
        // SAFETY: the runtime is borrowed; the shim writes one number, into a local.
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
            // SAFETY: `alloc` got the address from this runtime, and it is freed once. No work of a
            // `Stream` or `Graph` uses it any more: those hold an `Arc` of this. CUDA's manual would
            // allow it also then: cuMemFree waits for the device, but for memory of cuMemAllocAsync.
            None => unsafe { (api.buffer_free)(runtime, self.address) },
            // SAFETY: `map` registered the memory with this runtime, and it is unregistered once,
            // while it is mapped still. No work uses it any more, as above.
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
        // SAFETY: the runtime is borrowed, and kept in what is made; `out` is a local.
        runtime.shim.check(unsafe {
            (runtime.shim.api.stream_create)(runtime.pointer.as_ptr(), &mut out)
        })?;
        Ok(StreamHandle { pointer: given(out)?, runtime, _not_sync: PhantomData })
    }

    /// Copies to the device, and waits: `from` is read while it is borrowed, and not later. Not
    /// for a stream that is captured, whose graph would read `from` at every launch.
    pub(crate) fn write(&self, to: u64, from: &[u8]) -> Result<(), Error> {
        let (shim, stream) = (&self.runtime.shim, self.pointer.as_ptr());
        // SAFETY: the stream is borrowed, and `from` too, until the copy was waited for; an error
        // of the first call means that there is no copy, of the second that the device has
        // stopped. `to` is a device address, which no host memory can be harmed through.
        shim.check(unsafe {
            (shim.api.copy_to_device)(stream, to, from.as_ptr().cast(), from.len())
        })?;
        self.synchronize()
    }

    /// Copies from the device, and waits: `to` is written while it is borrowed, and not later. Not
    /// for a stream that is captured.
    pub(crate) fn read(&self, to: &mut [u8], from: u64) -> Result<(), Error> {
        let (shim, stream) = (&self.runtime.shim, self.pointer.as_ptr());
        // SAFETY: as in `write`: `to` is borrowed, alone, until the copy was waited for.
        shim.check(unsafe {
            (shim.api.copy_to_host)(stream, to.as_mut_ptr().cast(), from, to.len())
        })?;
        self.synchronize()
    }

    pub(crate) fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<(), Error> {
        let (shim, stream) = (&self.runtime.shim, self.pointer.as_ptr());
        // SAFETY: the stream is borrowed; the rest are device addresses. `Stream::copy` checked
        // that both ranges are in buffers, and keeps these until the copy is done.
        shim.check(unsafe { (shim.api.copy_on_device)(stream, to, from, bytes) })
    }

    pub(crate) fn fill(&self, to: u64, value: u8, bytes: usize) -> Result<(), Error> {
        let (shim, stream) = (&self.runtime.shim, self.pointer.as_ptr());
        // SAFETY: the stream is borrowed; `Stream::fill` gives the range of a buffer, which it
        // keeps until the work is done.
        shim.check(unsafe { (shim.api.fill)(stream, to, value, bytes) })
    }

    pub(crate) fn synchronize(&self) -> Result<(), Error> {
        let shim = &self.runtime.shim;
        // SAFETY: the stream is borrowed, and nothing else is passed.
        shim.check(unsafe { (shim.api.stream_synchronize)(self.pointer.as_ptr()) })
    }

    pub(crate) fn wait(&self, event: &EventHandle) -> Result<(), Error> {
        let (shim, stream) = (&self.runtime.shim, self.pointer.as_ptr());
        // SAFETY: stream and event are borrowed. CUDA takes the event's state at once: the event
        // may be freed before the wait is over.
        shim.check(unsafe { (shim.api.stream_wait)(stream, event.pointer.as_ptr()) })
    }

    pub(crate) fn begin_graph(&self) -> Result<(), Error> {
        let shim = &self.runtime.shim;
        // SAFETY: the stream is borrowed, and nothing else is passed.
        shim.check(unsafe { (shim.api.graph_begin)(self.pointer.as_ptr()) })
    }

    pub(crate) fn end_graph(&self) -> Result<GraphHandle, Error> {
        let shim = &self.runtime.shim;
        let mut out = ptr::null_mut();
        // SAFETY: the stream is borrowed; `out` is a local.
        shim.check(unsafe { (shim.api.graph_end)(self.pointer.as_ptr(), &mut out) })?;
        let pointer = GraphPointer { pointer: given(out)?, runtime: self.runtime.clone() };
        Ok(GraphHandle { pointer: Arc::new(pointer), _not_sync: PhantomData })
    }
}

impl Drop for StreamHandle {
    fn drop(&mut self) {
        // SAFETY: `create` got the pointer, and it is freed once. `Stream` has waited for its work.
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
        // SAFETY: the runtime is borrowed, and kept in what is made; `out` is a local.
        runtime.shim.check(unsafe {
            (runtime.shim.api.event_create)(runtime.pointer.as_ptr(), &mut out)
        })?;
        Ok(EventHandle { pointer: given(out)?, runtime, _not_sync: PhantomData })
    }

    pub(crate) fn record(&self, stream: &StreamHandle) -> Result<(), Error> {
        let shim = &self.runtime.shim;
        // SAFETY: event and stream are borrowed; CUDA keeps what it needs of the event, which may
        // be freed before it is reached.
        shim.check(unsafe {
            (shim.api.event_record)(self.pointer.as_ptr(), stream.pointer.as_ptr())
        })
    }

    pub(crate) fn synchronize(&self) -> Result<(), Error> {
        let shim = &self.runtime.shim;
        // SAFETY: the event is borrowed, and nothing else is passed.
        shim.check(unsafe { (shim.api.event_synchronize)(self.pointer.as_ptr()) })
    }

    /// Milliseconds until another event.
    pub(crate) fn elapsed(&self, end: &EventHandle) -> Result<f32, Error> {
        let shim = &self.runtime.shim;
        let mut milliseconds = 0.0;
        // SAFETY: both events are borrowed; the shim writes one number, into a local.
        shim.check(unsafe {
            let (start, end) = (self.pointer.as_ptr(), end.pointer.as_ptr());
            (shim.api.event_elapsed)(start, end, &mut milliseconds)
        })?;
        Ok(milliseconds)
    }
}

impl Drop for EventHandle {
    fn drop(&mut self) {
        // SAFETY: `create` got the pointer, and it is freed once. CUDA's manual: an event may be
        // destroyed before it is complete.
        unsafe { (self.runtime.shim.api.event_free)(self.pointer.as_ptr()) }
    }
}

/// Owns a `cumo_trt_graph`. Can only be kept, and freed.
struct GraphPointer {
    runtime: Arc<RuntimeHandle>,
    pointer: NonNull<sys::Graph>,
}

// SAFETY: the header: a graph may move between threads.
unsafe impl Send for GraphPointer {}
// SAFETY: a shared one gives no access to the graph: `GraphHandle` does, which is not `Sync`.
unsafe impl Sync for GraphPointer {}

impl Drop for GraphPointer {
    fn drop(&mut self) {
        // SAFETY: `end_graph` got the pointer, and it is freed once; streams that have launched it
        // hold an `Arc` of this until they were waited for.
        unsafe { (self.runtime.shim.api.graph_free)(self.pointer.as_ptr()) }
    }
}

/// A graph, which one thread uses at a time.
pub(crate) struct GraphHandle {
    pointer: Arc<GraphPointer>,
    _not_sync: PhantomData<Cell<()>>,
}

impl GraphHandle {
    /// What keeps it from being freed.
    pub(crate) fn kept(&self) -> Used {
        self.pointer.clone()
    }

    pub(crate) fn launch(&self, stream: &StreamHandle) -> Result<(), Error> {
        let (shim, graph) = (&self.pointer.runtime.shim, self.pointer.pointer.as_ptr());
        // SAFETY: graph and stream are borrowed, the graph by one thread. What runs then uses
        // device addresses only (`Stream` refuses host copies in a capture), of buffers and
        // contexts that `Graph` and the stream keep.
        shim.check(unsafe { (shim.api.graph_launch)(graph, stream.pointer.as_ptr()) })
    }
}
