//! Memory of the device: what the model needs against what is free, and what is taken.

use cumo_bundle::Engines;
use cumo_tensorrt::{DeviceBuffer, Runtime};

use super::fault::during;
use super::needed::needed;
use super::toolkit::Toolkit;
use super::{Weights, runs_as};
use crate::backend::{BackendError, MemoryPlan, MemoryUse};
use crate::error::Error;
use crate::machine::Machine;

/// Left to TensorRT for contexts and CUDA for recorded steps, whose sizes are not known before
/// they are made. Not yet measured on a GPU.
const RESERVE: u64 = 64 << 20;

/// What the engines of a folder need of a device, which was asked what it has free after they were
/// loaded.
///
/// # Errors
/// [`BackendError::DeviceMemory`] where it does not fit.
pub(super) fn check(
    engines: &Engines,
    toolkit: &Toolkit,
    activations: u64,
    weights: Weights,
) -> Result<(), Error> {
    let limits = &engines.manifest.limits;
    let (images, prompt, context) = (limits.max_images, limits.max_prompt, limits.max_context);
    let manifest = runs_as(engines);
    let needed = needed(&manifest, images, prompt, context)?;
    let memory = toolkit.runtime.memory().map_err(during("asking for free memory"))?;
    let (free, total) = match toolkit.device.is_integrated {
        // CUDA does not count what the system would give back of its page cache.
        true => (memory.free_bytes.max(available()), memory.total_bytes),
        false => (memory.free_bytes, memory.total_bytes),
    };
    let in_place = weights == Weights::InPlace;
    let plan = MemoryPlan {
        needed: MemoryUse {
            activations,
            // Pages of a file, which the system brings in and drops.
            weights: if in_place { 0 } else { needed.weights },
            ..needed
        },
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

fn available() -> u64 {
    Machine::this().memory().map_or(0, |memory| memory.available_bytes)
}

/// Bytes of the device's memory that this backend has, and the most that it has had.
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

    /// Does work in which a library allocates, and counts what is less free after it.
    pub(super) fn around<T>(&mut self, runtime: &Runtime, work: impl FnOnce() -> T) -> T {
        let free = || runtime.memory().map_or(0, |memory| memory.free_bytes);
        let before = free();
        let result = work();
        self.take(before.saturating_sub(free()));
        result
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
