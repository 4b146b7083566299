//! NVML, NVIDIA's library for looking after cards: energy, clocks, temperature, throttling.
//!
//! It comes with the driver and is loaded when it is asked for; without it nothing is known. On a
//! Jetson it does not answer these questions.
#![allow(unsafe_code, reason = "calls NVML, a C library")]

mod api;

use std::ffi::{CStr, CString, c_char, c_int, c_uint};
use std::ptr;
use std::sync::Arc;

use super::Read;
use api::{Api, Device, GetKind, GetNumber, ProcessInfo};

/// More bytes than any name or version that NVML gives (`NVML_DEVICE_NAME_V2_BUFFER_SIZE` is 96).
const TEXT_BYTES: usize = 128;

/// The most processes of a card that are looked through.
const MOST_PROCESSES: usize = 1024;

/// Kinds of clocks (`nvmlClockType_t`): their numbers and what results call them.
const CLOCKS: [(c_int, &str); 2] = [(1, "gpu"), (2, "memory")];

/// Reasons for lower clocks than could be, of `nvmlClocksEventReasons`; not those that the user
/// has set, and not idleness.
const REASONS: [(u64, &str); 5] = [
    (0x04, "power cap"),
    (0x08, "hardware slowdown"),
    (0x20, "software thermal slowdown"),
    (0x40, "hardware thermal slowdown"),
    (0x80, "power brake"),
];

/// NVML, initialised.
struct Nvml {
    api: Api,
}

/// A card.
#[derive(Clone)]
pub struct Card {
    nvml: Arc<Nvml>,
    device: Handle,
}

/// A card's handle.
#[derive(Clone, Copy)]
struct Handle(Device);

// SAFETY: NVML may be called from any thread, and its handles belong to the process (NVML's
// reference, "Thread safety": all calls are thread safe).
unsafe impl Send for Handle {}
// SAFETY: as above; the handle itself is never changed.
unsafe impl Sync for Handle {}

/// A card's clock, in hertz.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CardClock {
    /// `gpu` or `memory`.
    pub name: &'static str,
    /// What it runs at.
    pub hz: u64,
    /// The most that it can.
    pub max_hz: Option<u64>,
}

impl Nvml {
    fn new(api: Api) -> Result<Arc<Self>, String> {
        // SAFETY: takes nothing; NVML counts its initialisations.
        let code = unsafe { (api.init)() };
        match code {
            // From here on `drop` takes the initialisation back.
            0 => Ok(Arc::new(Nvml { api })),
            code => Err(error(&api, code)),
        }
    }

    fn check(&self, code: c_int) -> Result<(), String> {
        if code == 0 { Ok(()) } else { Err(error(&self.api, code)) }
    }

    /// The card at a place on the PCI bus; none where NVML knows none there.
    fn card_at(self: Arc<Self>, pci_bus_id: &str) -> Option<Card> {
        let id = CString::new(pci_bus_id).ok()?;
        let mut device = ptr::null_mut();
        // SAFETY: NVML is initialised; the text ends with a NUL and is read during the call; the
        // pointer is to a local of the type that it writes.
        self.check(unsafe { (self.api.handle_by_bus)(id.as_ptr(), &mut device) }).ok()?;
        Some(Card { nvml: self, device: Handle(device) })
    }

    /// The cards, in NVML's order.
    fn cards(self: Arc<Self>) -> Result<Vec<Card>, String> {
        let mut count = 0;
        // SAFETY: NVML is initialised; the pointer is to a local of the type that it writes.
        self.check(unsafe { (self.api.count)(&mut count) })?;
        let card = |index| {
            let mut device = ptr::null_mut();
            // SAFETY: as above.
            self.check(unsafe { (self.api.handle_by_index)(index, &mut device) })?;
            Ok(Card { nvml: self.clone(), device: Handle(device) })
        };
        (0..count).map(card).collect()
    }
}

impl Drop for Nvml {
    fn drop(&mut self) {
        // SAFETY: takes the initialisation of `Nvml::new` back; no handle is used any more, since
        // every card holds an `Arc` of this value.
        unsafe { (self.api.shutdown)() };
    }
}

/// What NVML calls an error.
fn error(api: &Api, code: c_int) -> String {
    // SAFETY: takes any number, and gives a static text that ends with a NUL.
    let text = unsafe { (api.error_string)(code) };
    match text.is_null() {
        true => format!("NVML's error {code}"),
        // SAFETY: not null, as just seen.
        false => unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned(),
    }
}

impl Card {
    /// The card at a place on the PCI bus (`0000:01:00.0`), as CUDA and NVML number cards in
    /// different orders; where that is not known, the card of this name.
    ///
    /// # Errors
    /// Why there is none: NVML is not there or fails, no card has this name, or several have.
    pub fn find(name: &str, pci_bus_id: Option<&str>) -> Result<Self, String> {
        let api = Api::load().map_err(|error| format!("NVML cannot be loaded: {error}"))?;
        Self::of(api, name, pci_bus_id)
    }

    fn of(api: Api, name: &str, pci_bus_id: Option<&str>) -> Result<Self, String> {
        let nvml = Nvml::new(api).map_err(|error| format!("NVML: {error}"))?;
        if let Some(card) = pci_bus_id.and_then(|id| nvml.clone().card_at(id)) {
            return Ok(card);
        }
        let cards = nvml.cards().map_err(|error| format!("NVML: {error}"))?;
        let total = cards.len();
        let mut named = cards.into_iter().filter(|card| card.name().as_deref() == Ok(name));
        match (named.next(), named.next()) {
            (Some(card), None) => Ok(card),
            (None, _) => Err(format!("none of the {total} cards that NVML lists is called {name}")),
            (Some(_), Some(_)) => Err(format!(
                "NVML lists several cards called {name}, of which this program cannot tell which one works"
            )),
        }
    }

    /// Its name.
    ///
    /// # Errors
    /// NVML's.
    pub fn name(&self) -> Result<String, String> {
        self.text(|bytes, size| {
            // SAFETY: the handle is NVML's, which is initialised; the bytes are as many as said.
            unsafe { (self.nvml.api.name)(self.device.0, bytes, size) }
        })
    }

    /// Energy that it has taken since the driver was loaded, in joules.
    ///
    /// # Errors
    /// NVML's: cards before Volta, and Jetsons, do not count it.
    pub fn energy(&self) -> Result<f64, String> {
        self.number(self.nvml.api.total_energy).map(|millijoules| millijoules as f64 * 1e-3)
    }

    /// Its temperature in degrees Celsius, where it tells.
    pub fn celsius(&self) -> Option<f64> {
        self.of_kind(self.nvml.api.temperature, 0).map(f64::from)
    }

    /// Its clocks that it tells.
    pub fn clocks(&self) -> Vec<CardClock> {
        let hertz = |megahertz: u32| u64::from(megahertz) * 1_000_000;
        let clock = |(kind, name)| {
            let hz = self.of_kind(self.nvml.api.clock, kind).map(hertz)?;
            let max_hz = self.of_kind(self.nvml.api.max_clock, kind).map(hertz);
            Some(CardClock { name, hz, max_hz })
        };
        CLOCKS.into_iter().filter_map(clock).collect()
    }

    /// What holds its clocks down now, where it tells.
    pub fn throttling(&self) -> Option<Vec<String>> {
        let reasons = self.number(self.nvml.api.throttle_reasons).ok()?;
        let found = REASONS.iter().filter(|(bit, _)| reasons & bit != 0);
        Some(found.map(|(_, name)| (*name).to_owned()).collect())
    }

    /// The power that it may take, in watts, where it tells.
    pub fn power_limit(&self) -> Option<f64> {
        self.number(self.nvml.api.power_limit).ok().map(|milliwatts| f64::from(milliwatts) * 1e-3)
    }

    /// The card's memory that a process has, in bytes, with what the driver keeps for it, where the
    /// card tells: it does not know processes by the numbers that they have in a namespace.
    pub fn process_bytes(&self, process: u32) -> Option<u64> {
        let list = self.nvml.api.processes?;
        let mut infos = vec![ProcessInfo::default(); MOST_PROCESSES];
        let mut count = MOST_PROCESSES as c_uint;
        // SAFETY: the handle is NVML's, which is initialised; there is room for as many processes as
        // said, of the type that the function writes.
        self.nvml.check(unsafe { list(self.device.0, &mut count, infos.as_mut_ptr()) }).ok()?;
        let own = infos.iter().take(count as usize).filter(|info| info.pid == process);
        let known = own.map(|info| info.used_bytes).filter(|bytes| *bytes != u64::MAX);
        // On a card that is divided, a part each.
        known.reduce(u64::saturating_add)
    }

    /// The driver's version, where it tells.
    pub fn driver(&self) -> Option<String> {
        let version = self.text(|bytes, size| {
            // SAFETY: NVML is initialised; the bytes are as many as said.
            unsafe { (self.nvml.api.driver_version)(bytes, size) }
        });
        version.ok()
    }

    /// The newest CUDA that the driver runs, for example `12.9`, where it tells.
    pub fn cuda(&self) -> Option<String> {
        let mut version = 0;
        // SAFETY: NVML is initialised; the pointer is to a local of the type that it writes.
        self.nvml.check(unsafe { (self.nvml.api.cuda_version)(&mut version) }).ok()?;
        Some(format!("{}.{}", version / 1000, version % 1000 / 10))
    }

    fn number<T: Default>(&self, get: GetNumber<T>) -> Result<T, String> {
        let mut number = T::default();
        // SAFETY: the handle is NVML's, which is initialised; the pointer is to a local of the type
        // that the function writes.
        self.nvml.check(unsafe { get(self.device.0, &mut number) })?;
        Ok(number)
    }

    fn of_kind(&self, get: GetKind, kind: c_int) -> Option<u32> {
        let mut number = 0;
        // SAFETY: as in `number`.
        self.nvml.check(unsafe { get(self.device.0, kind, &mut number) }).ok()?;
        Some(number)
    }

    /// A text that is written into bytes, of which the number is given.
    fn text(&self, write: impl FnOnce(*mut c_char, c_uint) -> c_int) -> Result<String, String> {
        // NVML ends the text with a NUL; the last byte is one whatever it does.
        let mut bytes = [0_u8; TEXT_BYTES + 1];
        self.nvml.check(write(bytes.as_mut_ptr().cast(), TEXT_BYTES as c_uint))?;
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(TEXT_BYTES);
        Ok(String::from_utf8_lossy(&bytes[..end]).into_owned())
    }
}

/// The energy counter of the card that [`Card::find`] finds, which has answered once.
pub(super) fn energy_counter(name: &str, pci_bus_id: Option<&str>) -> Result<Read, String> {
    let card = Card::find(name, pci_bus_id)?;
    card.energy().map_err(|error| format!("NVML does not count {name}'s energy: {error}"))?;
    Ok(Box::new(move || card.energy()))
}

#[cfg(test)]
mod tests;
