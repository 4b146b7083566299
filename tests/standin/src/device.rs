//! The device: what is counted and where it fails, its memory, streams, events, contexts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::fault::{Fault, Result};
use crate::journal::Journal;
use crate::memory::Memory;
use crate::queue::{Event, Stream};
use crate::settings::{DeviceSettings, Settings};
use crate::sys::code;

/// The device of an opened library.
pub(crate) struct Device {
    pub(crate) settings: Settings,
    pub(crate) facts: DeviceSettings,
    pub(crate) journal: Arc<Journal>,
    state: Mutex<State>,
}

/// What changes.
pub(crate) struct State {
    pub(crate) memory: Memory,
    pub(crate) streams: BTreeMap<usize, Stream>,
    pub(crate) events: BTreeMap<usize, Event>,
    /// By the context's number, how often what it runs was changed.
    pub(crate) contexts: BTreeMap<usize, u64>,
    /// Pinned memory of the host by its address.
    pub(crate) pinned: BTreeMap<usize, Pinned>,
    /// Why no call works any more.
    pub(crate) lost: Option<String>,
    made: usize,
}

/// Pinned memory of the host.
pub(crate) struct Pinned {
    pub(crate) bytes: u64,
    pub(crate) owner: usize,
}

impl State {
    /// Whether all of a piece of the host's memory is pinned.
    pub(crate) fn is_pinned(&self, address: usize, bytes: u64) -> bool {
        let below = self.pinned.range(..=address).next_back();
        below.is_some_and(|(start, pinned)| (address - start) as u64 + bytes <= pinned.bytes)
    }

    /// A number that no other thing of this device has.
    pub(crate) fn number(&mut self) -> usize {
        self.made += 1;
        self.made
    }

    /// Ends all that the device has yet to do: every later call fails for this reason.
    pub(crate) fn lose(&mut self, why: String) {
        self.streams.values_mut().for_each(Stream::clear);
        self.lost.get_or_insert(why);
    }
}

impl Device {
    pub(crate) fn new(settings: Settings, facts: DeviceSettings, journal: Arc<Journal>) -> Device {
        static MADE: AtomicU64 = AtomicU64::new(1);
        // No two devices share an address, and nothing is mapped there.
        let first = (1 << 56) + (MADE.fetch_add(1, Ordering::Relaxed) << 44);
        let state = State {
            memory: Memory::new(first),
            streams: BTreeMap::new(),
            events: BTreeMap::new(),
            contexts: BTreeMap::new(),
            pinned: BTreeMap::new(),
            lost: None,
            made: 0,
        };
        Device { settings, facts, journal, state: Mutex::new(state) }
    }

    /// The state, for what is no call of the device's.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a call that needs the device.
    ///
    /// # Errors
    /// The device was lost.
    pub(crate) fn call(&self, line: impl FnOnce() -> String) -> Result<MutexGuard<'_, State>> {
        let calls = {
            let mut count = self.journal.count();
            count.calls += 1;
            count.calls
        };
        self.journal.trace(line);
        let mut state = self.state();
        if self.settings.lose_device_at_call == Some(calls) {
            state.lose(format!("the device was lost at call {calls}"));
        }
        match &state.lost {
            Some(why) => Err(Fault::new(code::CUDA, why.clone())),
            None => Ok(state),
        }
    }

    /// Bytes that are free.
    pub(crate) fn free_bytes(&self, state: &State) -> u64 {
        let DeviceSettings { total_bytes, used_elsewhere_bytes, .. } = self.facts;
        total_bytes.saturating_sub(used_elsewhere_bytes).saturating_sub(state.memory.used_bytes)
    }

    /// Counts an allocation of `bytes` of device memory.
    ///
    /// # Errors
    /// There is not so much, or it is the one that is to fail.
    pub(crate) fn allocation(&self, state: &mut State, bytes: u64, what: &str) -> Result<()> {
        let free = self.free_bytes(state);
        let allocations = {
            let mut count = self.journal.count();
            count.allocations += 1;
            if bytes <= free {
                count.peak_bytes = count.peak_bytes.max(state.memory.used_bytes + bytes);
            }
            count.allocations
        };
        if bytes <= free && self.settings.fail_allocation != Some(allocations) {
            return Ok(());
        }
        let text = format!("{bytes} bytes of device memory for {what}: {free} bytes are free");
        Err(Fault::new(code::OUT_OF_MEMORY, text))
    }

    /// Refuses what must not be done by a thread that captures a graph.
    ///
    /// # Errors
    /// A violation, which also spoils the capture.
    pub(crate) fn refuse_in_capture(&self, state: &mut State, what: &str) -> Result<()> {
        let thread = std::thread::current().id();
        let mut captures = state.streams.values_mut().filter_map(|stream| stream.capture.as_mut());
        match captures.find(|capture| capture.thread == thread) {
            None => Ok(()),
            Some(capture) => {
                let fault = self.journal.violation(format!("{what} while a graph is captured"));
                capture.fault.get_or_insert(fault.text.clone());
                Err(fault)
            }
        }
    }
}
