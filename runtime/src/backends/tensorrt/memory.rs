//! Memory of the device: what the model needs against what is free, and what is taken.

use cumo_bundle::{EngineEntry, Engines, Manifest, Phase};
use cumo_tensorrt::DeviceBuffer;

use super::fault::during;
use super::loaded::constant_bytes;
use super::needed::needed;
use super::runs_as;
use super::toolkit::Toolkit;
use crate::backend::{BackendError, MemoryPlan, MemoryUse};
use crate::error::Error;
use crate::machine::Machine;

/// Left to TensorRT for code and CUDA for recorded steps, whose sizes are not known before they are
/// made. Not yet measured on a GPU.
const RESERVE: u64 = 64 << 20;

/// What the engines of a folder need of a device before they are loaded, as far as their manifest
/// says.
///
/// # Errors
/// As [`check`].
pub(super) fn check_unloaded(engines: &Engines, toolkit: &Toolkit) -> Result<(), Error> {
    let all = &engines.manifest.engines;
    let activations = all.iter().filter_map(|entry| entry.figures.activation_bytes).max();
    let constants = all.iter().map(|entry| constant_bytes(engines, entry));
    let constants = constants.fold(0, u64::saturating_add);
    check(engines, toolkit, activations.unwrap_or(0), constants)
}

/// What the engines of a folder need of a device with what it has free now: files of weights,
/// wherever they lie, since the device's driver locks also those that it reads in place; constants
/// of engines that are not loaded yet; what a context of every step on every of its engines keeps;
/// cache, tensors and activations.
///
/// # Errors
/// [`BackendError::DeviceMemory`] where it does not fit.
pub(super) fn check(
    engines: &Engines,
    toolkit: &Toolkit,
    activations: u64,
    constants: u64,
) -> Result<(), Error> {
    let limits = &engines.manifest.limits;
    let (images, prompt, context) = (limits.max_images, limits.max_prompt, limits.max_context);
    let manifest = runs_as(engines);
    let needed = needed(&manifest, images, prompt, context)?;
    let memory = toolkit.runtime.memory().map_err(during("asking for free memory"))?;
    let (free, total) = match toolkit.device.is_integrated {
        // CUDA does not count what the system would give back of its page cache.
        true => {
            let free = memory.free_bytes.max(available()).min(memory.total_bytes);
            (free, memory.total_bytes)
        }
        false => (memory.free_bytes, memory.total_bytes),
    };
    let (num_contexts, contexts) = contexts(engines, &manifest);
    let plan = MemoryPlan {
        needed: MemoryUse {
            activations,
            weights: needed.weights.saturating_add(constants),
            contexts,
            ..needed
        },
        num_contexts,
        reserve: RESERVE,
        free,
        total,
        max_context: context,
        max_prompt: prompt,
        max_images: images,
    };
    match plan.missing() {
        None => Ok(()),
        Some(_) => Err(BackendError::DeviceMemory(Box::new(plan)).into()),
    }
}

/// Contexts, one of every step on every engine of its graph: how many, and what they keep.
fn contexts(engines: &Engines, manifest: &Manifest) -> (usize, u64) {
    let steps = Phase::ALL.into_iter().flat_map(|phase| manifest.plan.steps(phase));
    steps.fold((0, 0), |(count, bytes), step| {
        let (own, kept) = contexts_of(&step.graph, engines.manifest.engines.iter());
        (count + own, kept.saturating_add(bytes))
    })
}

/// The contexts of a step of `graph`, one on every engine of it: how many, and what they keep, as
/// far as their builder said.
pub(super) fn contexts_of<'a>(
    graph: &str,
    engines: impl Iterator<Item = &'a EngineEntry>,
) -> (usize, u64) {
    let own = engines.filter(|entry| entry.graph == graph);
    own.fold((0, 0), |(count, bytes), entry| {
        (count + 1, entry.figures.persistent_bytes.unwrap_or(0).saturating_add(bytes))
    })
}

fn available() -> u64 {
    Machine::this().memory().map_or(0, |memory| memory.available_bytes)
}

/// Bytes of the device's memory that this backend has, and the most that it has had: buffers,
/// weights, constants of engines and what contexts keep. What the device has less free is not
/// asked: other programs take and give back as well. So TensorRT's code and CUDA's own memory are
/// not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Ledger {
    now: u64,
    peak: u64,
}

impl Ledger {
    pub(super) fn take(&mut self, bytes: u64) {
        self.now = self.now.saturating_add(bytes);
        self.peak = self.peak.max(self.now);
    }

    pub(super) fn give_back(&mut self, bytes: u64) {
        self.now = self.now.saturating_sub(bytes);
    }

    pub(super) fn peak(&self) -> u64 {
        self.peak
    }
}

/// A buffer that was given out.
pub(super) struct Given {
    pub(super) place: DeviceBuffer,
    pub(super) is_read_only: bool,
}

impl Given {
    /// A piece of it.
    ///
    /// # Errors
    /// [`BackendError::OutOfBounds`].
    pub(super) fn piece(&self, offset: usize, bytes: usize) -> Result<DeviceBuffer, BackendError> {
        let outside = |_| BackendError::OutOfBounds {
            offset,
            end: offset.saturating_add(bytes),
            size: usize::try_from(self.place.bytes()).unwrap_or(usize::MAX),
        };
        self.place.slice(offset as u64, bytes as u64).map_err(outside)
    }

    /// A piece of it that is going to be written.
    ///
    /// # Errors
    /// [`BackendError::ReadOnly`]; [`BackendError::OutOfBounds`].
    pub(super) fn writable(
        &self,
        offset: usize,
        bytes: usize,
    ) -> Result<DeviceBuffer, BackendError> {
        match self.is_read_only {
            true => Err(BackendError::ReadOnly),
            false => self.piece(offset, bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_keeps_the_most_that_was_taken() {
        let mut ledger = Ledger::default();
        ledger.take(100);
        ledger.give_back(60);
        ledger.take(50);
        assert_eq!((ledger.now, ledger.peak()), (90, 100));
        ledger.give_back(1000);
        assert_eq!((ledger.now, ledger.peak()), (0, 100));
    }
}
