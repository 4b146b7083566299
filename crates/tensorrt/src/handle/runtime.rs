//! A device, its engines and their contexts.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use super::builder::{BlobHandle, tensor};
use super::{LibraryHandle, LogTarget, Shim, StreamHandle, c_text, given, text};
use crate::error::Error;
use crate::sys::{self, MAX_RANK};
use crate::tensor::Tensor;
use crate::work::Used;

/// A device as the shim describes it.
pub(crate) struct RawDevice {
    pub(crate) name: String,
    pub(crate) compute_capability: i32,
    pub(crate) driver: i32,
    pub(crate) multiprocessors: i32,
    pub(crate) is_integrated: bool,
    pub(crate) total_bytes: u64,
    pub(crate) pci_bus_id: String,
}

impl LibraryHandle {
    pub(crate) fn num_devices(&self) -> Result<i32, Error> {
        let mut count = 0;
        // SAFETY: needs no handle; the shim writes one number, into a local.
        self.shim.check(unsafe { (self.shim.api.num_devices)(&mut count) })?;
        Ok(count)
    }

    pub(crate) fn device(&self, ordinal: i32) -> Result<RawDevice, Error> {
        // SAFETY: all bytes zero are a value of this type: numbers.
        let mut raw: sys::Device = unsafe { std::mem::zeroed() };
        // SAFETY: needs no handle; `raw` is a local of the header's layout, which a test compares.
        self.shim.check(unsafe { (self.shim.api.device_info)(ordinal, &mut raw) })?;
        Ok(RawDevice {
            // SAFETY: the shim wrote a text that ends within the array.
            name: unsafe { text(raw.name.as_ptr()) },
            compute_capability: raw.compute_capability,
            driver: raw.driver,
            multiprocessors: raw.multiprocessors,
            is_integrated: raw.is_integrated != 0,
            total_bytes: raw.total_bytes,
            // SAFETY: as for the name.
            pci_bus_id: unsafe { text(raw.pci_bus_id.as_ptr()) },
        })
    }
}

/// Owns a `cumo_trt_runtime`.
pub(crate) struct RuntimeHandle {
    pub(super) shim: Arc<Shim>,
    pub(super) pointer: NonNull<sys::Runtime>,
    // After the pointer was freed: first the log, then the library.
    pub(super) log: Box<LogTarget>,
    pub(super) _library: Arc<LibraryHandle>,
}

// SAFETY: the header: a runtime may be used by several threads at once. TensorRT's manual, "Thread
// Safety": "the following operations are thread-safe: nonmodifying operations on a runtime or
// engine; deserializing an engine from a TensorRT runtime; creating an execution context from an
// engine; registering and deregistering plugins".
unsafe impl Send for RuntimeHandle {}
// SAFETY: the same.
unsafe impl Sync for RuntimeHandle {}

impl RuntimeHandle {
    pub(crate) fn create(
        library: Arc<LibraryHandle>,
        device: i32,
        log: Box<LogTarget>,
    ) -> Result<Arc<Self>, Error> {
        let shim = library.shim.clone();
        let mut out = ptr::null_mut();
        // SAFETY: the library is borrowed, and kept in what is made; `out` is a local. The shim
        // copies the log's struct; its target is boxed, and dropped after the runtime was freed.
        shim.check(unsafe {
            (shim.api.runtime_create)(library.pointer.as_ptr(), device, &log.raw(), &mut out)
        })?;
        Ok(Arc::new(RuntimeHandle { pointer: given(out)?, shim, log, _library: library }))
    }

    pub(crate) fn log(&self) -> &LogTarget {
        &self.log
    }

    /// Free bytes, and all.
    pub(crate) fn memory(&self) -> Result<(u64, u64), Error> {
        let (mut free, mut total) = (0, 0);
        // SAFETY: the runtime is borrowed; the shim writes two numbers, into locals.
        self.shim.check(unsafe {
            (self.shim.api.runtime_memory)(self.pointer.as_ptr(), &mut free, &mut total)
        })?;
        Ok((free, total))
    }

    pub(crate) fn compiled_kernels(&self) -> Result<Option<BlobHandle>, Error> {
        let mut out = ptr::null_mut();
        // SAFETY: the runtime is borrowed; `out` is a local, and what it gets is owned below. The
        // shim itself waits for contexts that other threads use.
        self.shim.check(unsafe {
            (self.shim.api.runtime_compiled_kernels)(self.pointer.as_ptr(), &mut out)
        })?;
        Ok(BlobHandle::new(&self.shim, out))
    }
}

impl Drop for RuntimeHandle {
    fn drop(&mut self) {
        // SAFETY: `create` got the pointer, and it is freed once; what was made from it holds an
        // `Arc` of this, so that all of that is freed by now.
        unsafe { (self.shim.api.runtime_free)(self.pointer.as_ptr()) }
    }
}

/// Owns a `cumo_trt_engine`.
pub(crate) struct EngineHandle {
    runtime: Arc<RuntimeHandle>,
    pointer: NonNull<sys::Engine>,
}

// SAFETY: the header: an engine may be used by several threads at once; TensorRT's sentence stands
// at `RuntimeHandle`.
unsafe impl Send for EngineHandle {}
// SAFETY: the same.
unsafe impl Sync for EngineHandle {}

impl EngineHandle {
    pub(crate) fn load(runtime: Arc<RuntimeHandle>, engine: &[u8]) -> Result<Arc<Self>, Error> {
        let mut out = ptr::null_mut();
        // SAFETY: the runtime is borrowed, and kept in what is made; the header: the bytes may be
        // freed after the call, for which `engine` is borrowed; `out` is a local.
        runtime.shim.check(unsafe {
            let (bytes, length) = (engine.as_ptr().cast(), engine.len());
            (runtime.shim.api.engine_load)(runtime.pointer.as_ptr(), bytes, length, &mut out)
        })?;
        Ok(Arc::new(EngineHandle { pointer: given(out)?, runtime }))
    }

    fn parts(&self) -> (&Shim, *mut sys::Engine) {
        (&self.runtime.shim, self.pointer.as_ptr())
    }

    /// In the engine's order; the flag says which are inputs.
    pub(crate) fn tensors(&self) -> Result<Vec<(bool, Tensor)>, Error> {
        let (shim, engine) = self.parts();
        // SAFETY: the engine is borrowed, and nothing else is passed.
        let count = unsafe { (shim.api.engine_num_tensors)(engine) };
        let tensors = (0..count).map(|index| {
            // SAFETY: all bytes zero are a value of this type: numbers and a null pointer.
            let mut raw: sys::Tensor = unsafe { std::mem::zeroed() };
            // SAFETY: the engine is borrowed; `raw` is a local of the header's layout.
            shim.check(unsafe { (shim.api.engine_tensor)(engine, index, &mut raw) })?;
            // SAFETY: the shim filled it, and its name belongs to the engine, which is borrowed.
            Ok(unsafe { (raw.is_input != 0, tensor(&raw)) })
        });
        tensors.collect()
    }

    pub(crate) fn num_profiles(&self) -> usize {
        let (shim, engine) = self.parts();
        // SAFETY: the engine is borrowed, and nothing else is passed.
        unsafe { (shim.api.engine_num_profiles)(engine) }
    }

    /// The smallest, the tuned-for and the largest shape of an input of known rank.
    pub(crate) fn profile(
        &self,
        input: &str,
        profile: usize,
        rank: usize,
    ) -> Result<[Vec<i64>; 3], Error> {
        let (shim, engine) = self.parts();
        let input = c_text(input)?;
        let [mut min, mut opt, mut max] = [[0_i64; MAX_RANK]; 3];
        // SAFETY: the engine and the name are borrowed; each array is a local with room for the
        // longest shape, as the header wants.
        shim.check(unsafe {
            let (min, opt, max) = (min.as_mut_ptr(), opt.as_mut_ptr(), max.as_mut_ptr());
            (shim.api.engine_profile)(engine, input.as_ptr(), profile, min, opt, max)
        })?;
        Ok([min, opt, max].map(|shape| shape.into_iter().take(rank).collect()))
    }

    pub(crate) fn aliased_input(&self, output: &str) -> Result<String, Error> {
        let (shim, engine) = self.parts();
        let output = c_text(output)?;
        // SAFETY: engine and name are borrowed; the text belongs to the engine, and is copied.
        Ok(unsafe { text((shim.api.engine_aliased_input)(engine, output.as_ptr())) })
    }

    pub(crate) fn activation_bytes(&self, profile: usize) -> Result<u64, Error> {
        let (shim, engine) = self.parts();
        let mut bytes = 0;
        // SAFETY: the engine is borrowed; the shim writes one number, into a local.
        shim.check(unsafe { (shim.api.engine_activation_bytes)(engine, profile, &mut bytes) })?;
        Ok(bytes)
    }

    pub(crate) fn inspect(&self) -> Result<String, Error> {
        let (shim, engine) = self.parts();
        let mut out = ptr::null_mut();
        // SAFETY: the engine is borrowed; `out` is a local, and what it gets is owned below.
        shim.check(unsafe { (shim.api.engine_inspect)(engine, &mut out) })?;
        let text = BlobHandle::new(&self.runtime.shim, out);
        Ok(text.map(|text| String::from_utf8_lossy(text.bytes()).into_owned()).unwrap_or_default())
    }

    pub(crate) fn load_compiled_kernels(&self, kernels: &[u8]) -> Result<(), Error> {
        let (shim, engine) = self.parts();
        // SAFETY: the engine and the bytes are borrowed during the call, after which the shim has
        // no use for them. That they are what a runtime gave is the promise of who calls
        // `Engine::load_compiled_kernels`, as for engines: both are code.
        shim.check(unsafe {
            (shim.api.engine_load_compiled_kernels)(engine, kernels.as_ptr().cast(), kernels.len())
        })
    }
}

impl Drop for EngineHandle {
    fn drop(&mut self) {
        // SAFETY: `load` got the pointer, and it is freed once; contexts hold an `Arc` of this, so
        // that all of them are freed by now.
        unsafe { (self.runtime.shim.api.engine_free)(self.pointer.as_ptr()) }
    }
}

/// Owns a `cumo_trt_context`. Can only be kept, and freed.
struct ContextPointer {
    engine: Arc<EngineHandle>,
    pointer: NonNull<sys::Context>,
}

// SAFETY: the header: a context may move between threads.
unsafe impl Send for ContextPointer {}
// SAFETY: a shared one gives no access to the context: `ContextHandle` does, which is not `Sync`.
unsafe impl Sync for ContextPointer {}

impl Drop for ContextPointer {
    fn drop(&mut self) {
        // SAFETY: `create` got the pointer, and it is freed once. No execution of it is on its way:
        // streams and graphs with one hold an `Arc` of this.
        unsafe { (self.engine.runtime.shim.api.context_free)(self.pointer.as_ptr()) }
    }
}

/// An execution context, which one thread uses at a time. TensorRT's manual: "different threads
/// operate in different execution contexts".
pub(crate) struct ContextHandle {
    pointer: Arc<ContextPointer>,
    _not_sync: PhantomData<Cell<()>>,
}

impl ContextHandle {
    pub(crate) fn create(engine: Arc<EngineHandle>, is_user_managed: bool) -> Result<Self, Error> {
        let (shim, pointer) = engine.parts();
        let mut out = ptr::null_mut();
        // SAFETY: the engine is borrowed, and kept in what is made; `out` is a local.
        shim.check(unsafe {
            (shim.api.context_create)(pointer, is_user_managed.into(), &mut out)
        })?;
        let pointer = Arc::new(ContextPointer { pointer: given(out)?, engine });
        Ok(ContextHandle { pointer, _not_sync: PhantomData })
    }

    /// What keeps it from being freed.
    pub(crate) fn kept(&self) -> Used {
        self.pointer.clone()
    }

    fn parts(&self) -> (&Shim, *mut sys::Context) {
        (&self.pointer.engine.runtime.shim, self.pointer.pointer.as_ptr())
    }

    pub(crate) fn set_memory(&self, address: u64, bytes: u64) -> Result<(), Error> {
        let (shim, context) = self.parts();
        // SAFETY: the context is borrowed, by one thread. The address is a device's, through which
        // no host memory can be harmed; `Context` keeps its buffer.
        shim.check(unsafe { (shim.api.context_set_memory)(context, address, bytes) })
    }

    pub(crate) fn set_profile(&self, profile: usize, stream: &StreamHandle) -> Result<(), Error> {
        let (shim, context) = self.parts();
        // SAFETY: context and stream are borrowed, by one thread; the stream keeps the context
        // until what this puts on it is done.
        shim.check(unsafe {
            (shim.api.context_set_profile)(context, profile, stream.pointer.as_ptr())
        })
    }

    pub(crate) fn set_shape(&self, input: &str, shape: &[i64]) -> Result<(), Error> {
        let (shim, context) = self.parts();
        let input = c_text(input)?;
        // SAFETY: the context is borrowed, by one thread; name and shape are read during the call,
        // the shape's numbers as many as are said.
        shim.check(unsafe {
            let (pointer, rank) = (shape.as_ptr(), shape.len());
            (shim.api.context_set_shape)(context, input.as_ptr(), pointer, rank)
        })
    }

    pub(crate) fn shape(&self, tensor: &str) -> Result<Vec<i64>, Error> {
        let (shim, context) = self.parts();
        let tensor = c_text(tensor)?;
        let mut shape = [0_i64; MAX_RANK];
        let mut rank = 0;
        // SAFETY: context and name are borrowed; the array is a local with room for the longest
        // shape, as the header wants, and `rank` a local.
        shim.check(unsafe {
            let shape = shape.as_mut_ptr();
            (shim.api.context_shape)(context, tensor.as_ptr(), shape, &mut rank)
        })?;
        Ok(shape.into_iter().take(rank).collect())
    }

    pub(crate) fn set_address(&self, tensor: &str, address: u64) -> Result<(), Error> {
        let (shim, context) = self.parts();
        let tensor = c_text(tensor)?;
        // SAFETY: the context is borrowed, by one thread, and the name during the call. The address
        // is a device's; `Context` keeps its buffer, and refuses tensors that lie on the host.
        shim.check(unsafe { (shim.api.context_set_address)(context, tensor.as_ptr(), address) })
    }

    pub(crate) fn activation_bytes(&self) -> Result<u64, Error> {
        let (shim, context) = self.parts();
        let mut bytes = 0;
        // SAFETY: the context is borrowed, by one thread; the shim writes one number, into a local.
        shim.check(unsafe { (shim.api.context_activation_bytes)(context, &mut bytes) })?;
        Ok(bytes)
    }

    pub(crate) fn enqueue(&self, stream: &StreamHandle) -> Result<(), Error> {
        let (shim, context) = self.parts();
        // SAFETY: context and stream are borrowed, by one thread. What runs then reads and writes
        // device memory, of buffers that `Context` compared with the shapes, and that the stream
        // keeps, with the context, until it was waited for.
        shim.check(unsafe { (shim.api.context_enqueue)(context, stream.pointer.as_ptr()) })
    }
}
