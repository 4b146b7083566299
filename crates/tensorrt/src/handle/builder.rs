//! A builder with the network that was parsed for it.

use std::any::Any;
use std::cell::Cell;
use std::ffi::{CString, c_void};
use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::{Arc, Mutex, PoisonError};

use super::{LibraryHandle, LogTarget, Shim, c_path, c_text, given, text};
use crate::builder::{OnProgress, Profile, Progress};
use crate::error::Error;
use crate::sys;
use crate::tensor::Tensor;

/// Owns a `cumo_trt_builder`.
struct BuilderHandle {
    library: Arc<LibraryHandle>,
    pointer: NonNull<sys::Builder>,
    log: Box<LogTarget>,
}

impl Drop for BuilderHandle {
    fn drop(&mut self) {
        // SAFETY: `parse` got the pointer, and it is freed once; the one network that was made from it was dropped before,
        // being a field that stands first in `NetworkHandle`. The log is dropped after this.
        unsafe { (self.library.shim.api.builder_free)(self.pointer.as_ptr()) }
    }
}

/// Owns a `cumo_trt_network`.
struct NetworkPointer {
    shim: Arc<Shim>,
    pointer: NonNull<sys::Network>,
}

impl Drop for NetworkPointer {
    fn drop(&mut self) {
        // SAFETY: `parse` got the pointer, and it is freed once, before its builder: that stands
        // behind it in `NetworkHandle`.
        unsafe { (self.shim.api.network_free)(self.pointer.as_ptr()) }
    }
}

/// A network and its builder, which one thread uses at a time.
pub(crate) struct NetworkHandle {
    // The order is the order of dropping.
    network: NetworkPointer,
    builder: BuilderHandle,
    _not_sync: PhantomData<Cell<()>>,
}

// SAFETY: the header: a builder with its networks may move between threads. They are used by one
// at a time, since this type is not `Sync`.
unsafe impl Send for NetworkHandle {}

/// A layer as the shim describes it.
pub(crate) struct RawLayer {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) plugin: String,
    pub(crate) num_inputs: usize,
    pub(crate) num_outputs: usize,
}

/// The options of a build, checked and ready to be pointed to.
pub(crate) struct RawBuildOptions<'a> {
    pub(crate) profiles: &'a [Profile],
    pub(crate) workspace_bytes: u64,
    pub(crate) compute_capabilities: &'a [i32],
    pub(crate) optimization_level: Option<i32>,
    pub(crate) detailed: bool,
    pub(crate) refittable: bool,
    pub(crate) timing_cache: Option<&'a [u8]>,
}

impl NetworkHandle {
    pub(crate) fn parse(
        library: Arc<LibraryHandle>,
        log: Box<LogTarget>,
        model: &[u8],
        path: Option<&Path>,
    ) -> Result<Self, Error> {
        let shim = library.shim.clone();
        let mut out = ptr::null_mut();
        // SAFETY: the library is borrowed, and kept in what is made; `out` is a local. The shim
        // copies the log's struct; its target lives until the builder was freed, see
        // `BuilderHandle`.
        shim.check(unsafe {
            (shim.api.builder_create)(library.pointer.as_ptr(), &log.raw(), &mut out)
        })?;
        let builder = BuilderHandle { pointer: given(out)?, library, log };
        let path = path.map(c_path).transpose()?;
        let path = path.as_ref().map_or(ptr::null(), |path| path.as_ptr());
        let mut out = ptr::null_mut();
        // SAFETY: the builder is ours alone; model and path are borrowed during the call, and
        // the parser holds copies of the weights; `out` is a local.
        shim.check(unsafe {
            let (bytes, length) = (model.as_ptr().cast(), model.len());
            (shim.api.network_parse)(builder.pointer.as_ptr(), bytes, length, path, &mut out)
        })?;
        let network = NetworkPointer { pointer: given(out)?, shim };
        Ok(NetworkHandle { network, builder, _not_sync: PhantomData })
    }

    pub(crate) fn log(&self) -> &LogTarget {
        &self.builder.log
    }

    fn parts(&self) -> (&Shim, *mut sys::Network) {
        (&self.network.shim, self.network.pointer.as_ptr())
    }

    /// Inputs, then outputs; the flag says which.
    pub(crate) fn tensors(&self) -> Result<Vec<(bool, Tensor)>, Error> {
        let (shim, network) = self.parts();
        // SAFETY: the network is borrowed, and nothing else is passed.
        let count = unsafe { (shim.api.network_num_tensors)(network) };
        let tensors = (0..count).map(|index| {
            // SAFETY: all bytes zero are a value of this type: numbers and a null pointer.
            let mut raw: sys::Tensor = unsafe { std::mem::zeroed() };
            // SAFETY: the network is borrowed; `raw` is a local of the header's layout.
            shim.check(unsafe { (shim.api.network_tensor)(network, index, &mut raw) })?;
            // SAFETY: the shim filled it, and its name belongs to the network.
            Ok(unsafe { (raw.is_input != 0, tensor(&raw)) })
        });
        tensors.collect()
    }

    pub(crate) fn num_layers(&self) -> usize {
        let (shim, network) = self.parts();
        // SAFETY: the network is borrowed, and nothing else is passed.
        unsafe { (shim.api.network_num_layers)(network) }
    }

    pub(crate) fn layer(&self, index: usize) -> Result<RawLayer, Error> {
        let (shim, network) = self.parts();
        // SAFETY: all bytes zero are a value of this type: numbers and null pointers.
        let mut raw: sys::Layer = unsafe { std::mem::zeroed() };
        // SAFETY: the network is borrowed; `raw` is a local of the header's layout.
        shim.check(unsafe { (shim.api.network_layer)(network, index, &mut raw) })?;
        // SAFETY: the shim filled it, and its texts belong to the network or are static.
        let (name, kind, plugin) = unsafe { (text(raw.name), text(raw.kind), text(raw.plugin)) };
        let count = |count: i32| usize::try_from(count).unwrap_or_default();
        let (num_inputs, num_outputs) = (count(raw.num_inputs), count(raw.num_outputs));
        Ok(RawLayer { name, kind, plugin, num_inputs, num_outputs })
    }

    pub(crate) fn layer_tensor(
        &self,
        layer: usize,
        is_input: bool,
        index: usize,
    ) -> Result<Tensor, Error> {
        let (shim, network) = self.parts();
        // SAFETY: all bytes zero are a value of this type: numbers and a null pointer.
        let mut raw: sys::Tensor = unsafe { std::mem::zeroed() };
        // SAFETY: the network is borrowed; `raw` is a local of the header's layout.
        shim.check(unsafe {
            (shim.api.network_layer_tensor)(network, layer, is_input.into(), index, &mut raw)
        })?;
        // SAFETY: the shim filled it, and its name belongs to the network, which is borrowed.
        Ok(unsafe { tensor(&raw) })
    }

    /// The engine and, where the flavour has one, the timing cache.
    pub(crate) fn build(
        &mut self,
        options: &RawBuildOptions<'_>,
        on_progress: Option<&mut OnProgress<'_>>,
    ) -> Result<(BlobHandle, Option<BlobHandle>), Error> {
        let (shim, network) = (self.network.shim.clone(), self.network.pointer.as_ptr());
        let profiles = RawProfiles::new(options.profiles)?;
        let watch = on_progress.map(Watch::new);
        let (cache, cache_bytes) =
            options.timing_cache.map_or((ptr::null(), 0), |cache| (cache.as_ptr(), cache.len()));
        let raw = sys::BuildOptions {
            struct_bytes: size_of::<sys::BuildOptions>(),
            profiles: profiles.profiles.as_ptr(),
            num_profiles: profiles.profiles.len(),
            workspace_bytes: options.workspace_bytes,
            compute_capabilities: options.compute_capabilities.as_ptr(),
            num_compute_capabilities: options.compute_capabilities.len(),
            optimization_level_plus_1: options.optimization_level.map_or(0, |level| level + 1),
            detailed: options.detailed.into(),
            refittable: options.refittable.into(),
            timing_cache: cache.cast(),
            timing_cache_bytes: cache_bytes,
            progress: watch.as_ref().map(|_| report as sys::ProgressFn),
            progress_user: watch
                .as_ref()
                .map_or(ptr::null_mut(), |watch| ptr::from_ref(watch).cast_mut().cast()),
        };
        let (mut engine, mut cache) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: the network is borrowed alone. Options, profiles and cache are locals or borrowed,
        // and read during the call; so is `watch`, whose address `report` gets. The engine and the
        // cache go into locals, and are owned below.
        let status = unsafe { (shim.api.network_build)(network, &raw, &mut engine, &mut cache) };
        let result = shim.check(status);
        if let Some(panic) = watch.and_then(Watch::panic) {
            // The shim gave an engine or a status, and neither is left behind.
            drop(BlobHandle::new(&shim, engine));
            drop(BlobHandle::new(&shim, cache));
            resume_unwind(panic);
        }
        result?;
        let cache = BlobHandle::new(&shim, cache);
        match BlobHandle::new(&shim, engine) {
            Some(engine) => Ok((engine, cache)),
            None => Err(Error::Internal { reason: "the shim gave no engine".to_owned() }),
        }
    }
}

/// A tensor of the shim's.
///
/// # Safety
/// `raw` was filled by the shim, and the owner of its name is alive.
pub(super) unsafe fn tensor(raw: &sys::Tensor) -> Tensor {
    // SAFETY: the caller's promise.
    let name = unsafe { text(raw.name) };
    let rank = usize::try_from(raw.rank).ok();
    let shape = rank.and_then(|rank| raw.shape.get(..rank)).map(<[i64]>::to_vec);
    Tensor {
        name,
        dtype: crate::tensor::DType::from_number(raw.dtype),
        shape,
        is_host: raw.is_host != 0,
    }
}

/// Profiles as C arrays. The arrays own what the others point to.
struct RawProfiles {
    profiles: Vec<sys::Profile>,
    _ranges: Vec<Vec<sys::Range>>,
    _names: Vec<CString>,
}

impl RawProfiles {
    /// Points into `profiles`, which must outlive the result.
    fn new(profiles: &[Profile]) -> Result<Self, Error> {
        let mut names = Vec::new();
        let mut ranges = Vec::new();
        for profile in profiles {
            let mut of_profile = Vec::new();
            for range in profile.ranges() {
                let rank = range.min.len();
                if range.opt.len() != rank || range.max.len() != rank {
                    let reason = format!(
                        "input `{}`: minimum {:?}, optimum {:?} and maximum {:?} differ in rank",
                        range.input, range.min, range.opt, range.max
                    );
                    return Err(Error::Profile { reason });
                }
                let input = c_text(&range.input)?;
                of_profile.push(sys::Range {
                    input: input.as_ptr(),
                    rank,
                    min: range.min.as_ptr(),
                    opt: range.opt.as_ptr(),
                    max: range.max.as_ptr(),
                });
                // A CString's bytes stay where they are when the CString is moved.
                names.push(input);
            }
            ranges.push(of_profile);
        }
        let profiles = ranges.iter().map(|ranges: &Vec<sys::Range>| sys::Profile {
            ranges: ranges.as_ptr(),
            num_ranges: ranges.len(),
        });
        Ok(RawProfiles { profiles: profiles.collect(), _ranges: ranges, _names: names })
    }
}

/// The callback of a build, and what it panicked with.
struct Watch<'a, 'b> {
    state: Mutex<(&'a mut OnProgress<'b>, Option<Box<dyn Any + Send>>)>,
}

impl<'a, 'b> Watch<'a, 'b> {
    fn new(on_progress: &'a mut OnProgress<'b>) -> Self {
        Watch { state: Mutex::new((on_progress, None)) }
    }

    fn panic(self) -> Option<Box<dyn Any + Send>> {
        self.state.into_inner().unwrap_or_else(PoisonError::into_inner).1
    }
}

/// `cumo_trt_progress_fn`. A panic of the callback cancels the build and goes on after it.
///
/// # Safety
/// As the header says; `user` is a [`Watch`] that outlives the build.
unsafe extern "C" fn report(user: *mut c_void, progress: *const sys::Progress) -> i32 {
    // SAFETY: `build` gave this address, and waits for the shim to return. Any thread may call, so
    // only shared access is made, behind a lock; the callback is `Send`.
    let watch = unsafe { &*user.cast_const().cast::<Watch<'_, '_>>() };
    // SAFETY: the header: the struct and its texts are valid during the call.
    let (kind, steps, phase, parent) = unsafe {
        let raw = &*progress;
        (raw.kind, raw.steps, text(raw.phase), text(raw.parent))
    };
    let steps = usize::try_from(steps).unwrap_or_default();
    let event = match kind {
        sys::progress::START => Progress::Start { phase: &phase, parent: &parent, steps },
        sys::progress::STEP => Progress::Step { phase: &phase, step: steps },
        _ => Progress::Finish { phase: &phase },
    };
    let mut state = watch.state.lock().unwrap_or_else(PoisonError::into_inner);
    let (call, panic) = &mut *state;
    if panic.is_some() {
        return 1;
    }
    match catch_unwind(AssertUnwindSafe(|| call(event))) {
        Ok(ControlFlow::Continue(())) => 0,
        Ok(ControlFlow::Break(())) => 1,
        Err(cause) => {
            *panic = Some(cause);
            1
        }
    }
}

/// Owns a `cumo_trt_blob`.
pub(crate) struct BlobHandle {
    shim: Arc<Shim>,
    pointer: NonNull<sys::Blob>,
}

// SAFETY: a blob is memory that nobody writes to.
unsafe impl Send for BlobHandle {}
// SAFETY: the same.
unsafe impl Sync for BlobHandle {}

impl BlobHandle {
    pub(super) fn new(shim: &Arc<Shim>, pointer: *mut sys::Blob) -> Option<Self> {
        NonNull::new(pointer).map(|pointer| BlobHandle { shim: shim.clone(), pointer })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        let api = &self.shim.api;
        // SAFETY: the memory belongs to the blob, which the result borrows; it has the length that
        // the shim says, and nobody writes to it.
        unsafe {
            let (data, length) =
                ((api.blob_data)(self.pointer.as_ptr()), (api.blob_bytes)(self.pointer.as_ptr()));
            if data.is_null() || length == 0 {
                return &[];
            }
            std::slice::from_raw_parts(data.cast(), length)
        }
    }
}

impl Drop for BlobHandle {
    fn drop(&mut self) {
        // SAFETY: a call gave the pointer to `new`'s caller, who has given it away; freed once.
        unsafe { (self.shim.api.blob_free)(self.pointer.as_ptr()) }
    }
}
