//! Loaded engines.

use std::sync::Arc;

use crate::builder::Profile;
use crate::context::Context;
use crate::error::Error;
use crate::handle::EngineHandle;
use crate::runtime::Runtime;
use crate::tensor::Tensor;

/// An engine on a device. Cheap to clone; contexts keep it alive.
#[derive(Clone)]
pub struct Engine {
    pub(crate) handle: Arc<EngineHandle>,
    inputs: Arc<[Tensor]>,
    outputs: Arc<[Tensor]>,
}

impl Engine {
    pub(crate) fn load(runtime: &Runtime, engine: &[u8]) -> Result<Self, Error> {
        let handle = EngineHandle::load(runtime.handle.clone(), engine)?;
        let (inputs, outputs): (Vec<_>, Vec<_>) =
            handle.tensors()?.into_iter().partition(|(is_input, _)| *is_input);
        let tensors = |found: Vec<(bool, Tensor)>| found.into_iter().map(|(_, t)| t).collect();
        Ok(Engine { handle, inputs: tensors(inputs), outputs: tensors(outputs) })
    }

    /// What it reads.
    #[must_use]
    pub fn inputs(&self) -> &[Tensor] {
        &self.inputs
    }

    /// What it writes.
    #[must_use]
    pub fn outputs(&self) -> &[Tensor] {
        &self.outputs
    }

    /// How many profiles it was built with; at least 1.
    #[must_use]
    pub fn num_profiles(&self) -> usize {
        self.handle.num_profiles()
    }

    /// The shapes of all inputs in a profile.
    ///
    /// # Errors
    /// [`Error::Internal`] where there is no such profile.
    pub fn profile(&self, index: usize) -> Result<Profile, Error> {
        self.inputs.iter().try_fold(Profile::new(), |profile, input| {
            let rank = input.shape.as_ref().map_or(0, Vec::len);
            let [min, opt, max] = self.handle.profile(&input.name, index, rank)?;
            Ok(profile.range(&input.name, &min, &opt, &max))
        })
    }

    /// The input whose memory an output must share: a cache that is updated in place.
    ///
    /// # Errors
    /// [`Error::Internal`].
    pub fn aliased_input(&self, output: &str) -> Result<Option<String>, Error> {
        let input = self.handle.aliased_input(output)?;
        Ok(Some(input).filter(|input| !input.is_empty()))
    }

    /// The most activation memory in bytes that a context needs in a profile.
    ///
    /// # Errors
    /// [`Error::Internal`] where there is no such profile.
    pub fn activation_bytes(&self, profile: usize) -> Result<u64, Error> {
        self.handle.activation_bytes(profile)
    }

    /// TensorRT's description of the engine's layers, as JSON; in full where it was built with
    /// [`BuildOptions::detailed`](crate::BuildOptions::detailed).
    ///
    /// # Errors
    /// [`Error::Run`].
    pub fn inspect(&self) -> Result<String, Error> {
        self.handle.inspect()
    }

    /// Gives this engine's runtime the kernels that TensorRT-RTX compiled in an earlier process, of
    /// [`Runtime::compiled_kernels`], before the first context of the runtime is made. They are code: give
    /// only what that call gave, unaltered, and what nobody else could write.
    ///
    /// # Errors
    /// [`Error::Run`] where they are refused, as those of another device, driver or TensorRT-RTX,
    /// and the runtime is as before; [`Error::Internal`] after the first context;
    /// [`Error::Unsupported`] for other flavours than RTX.
    pub fn load_compiled_kernels(&self, kernels: &[u8]) -> Result<(), Error> {
        self.handle.load_compiled_kernels(kernels)
    }

    /// Makes a context with activation memory of its own.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::Run`].
    pub fn context(&self) -> Result<Context, Error> {
        Context::create(self, false)
    }

    /// Makes a context whose activation memory is given with [`Context::set_memory`]: contexts
    /// that run one after another in one stream can share it.
    ///
    /// # Errors
    /// [`Error::Run`].
    pub fn context_without_memory(&self) -> Result<Context, Error> {
        Context::create(self, true)
    }
}
