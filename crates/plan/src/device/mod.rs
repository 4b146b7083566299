//! Devices: memory, bandwidth, tensor rate and power modes.

mod table;

use serde::Serialize;

use crate::error::Error;
use table::{DEVICES, Row};

/// Bytes that system, desktop-less, and CUDA take of a Jetson's memory: an assumption. A board with
/// a text console and nothing else running is seen with 0.6 to 1.2 GB in use; a desktop takes one
/// more.
const JETSON_SYSTEM_BYTES: u64 = 1 << 30;

/// Bytes that the driver and CUDA's context take of a card's memory: an assumption. A desktop on the
/// card takes more.
const CARD_SYSTEM_BYTES: u64 = 1 << 29;

/// What models are planned for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Device {
    /// Its name in the table; `custom` for one that was described.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// Memory of the data sheet, in GB (of 2^30 bytes, as data sheets count memory).
    pub memory_gb: f64,
    /// Memory that the system tells to be there, in bytes.
    pub visible_bytes: u64,
    /// Of these, what system and driver are taken to need.
    pub system_bytes: u64,
    /// Whether processor and GPU share the memory.
    pub unified: bool,
    /// What runs there.
    pub runs: Runs,
    /// `87` for compute capability 8.7; none for a device that was described.
    pub compute_capability: Option<u32>,
    /// Power modes; the first is the default.
    pub modes: Vec<Mode>,
}

/// Which bundles a device's own units run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Runs {
    /// TensorRT engines. Bundles for ONNX Runtime run on the processor beside it.
    Engines,
    /// All of them: a device that was described, of which it is not known what it is.
    All,
}

/// A power mode, and the rates in it. They are upper bounds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mode {
    /// Its name, as `nvpmodel` has it on a Jetson.
    pub name: String,
    /// Watts that it allows; none where it has no limit of its own.
    pub watts: Option<f64>,
    /// Memory bandwidth, in GB/s.
    pub bandwidth_gbs: f64,
    /// Dense products of f16 operands, in TFLOPS.
    pub f16_tflops: f64,
}

/// A device that is in no table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CustomDevice {
    /// Memory that programs can be given, in GiB.
    pub memory_gb: f64,
    /// Memory bandwidth, in GB/s.
    pub bandwidth_gbs: f64,
    /// Dense products of f16 operands, in TFLOPS.
    pub f16_tflops: f64,
    /// Watts, where energy is asked for.
    pub watts: Option<f64>,
}

impl Device {
    /// Every device of the table.
    pub fn all() -> Vec<Device> {
        DEVICES.iter().map(Device::of).collect()
    }

    /// The names of the devices of the table.
    pub fn ids() -> impl Iterator<Item = &'static str> {
        DEVICES.iter().map(|row| row.id)
    }

    /// The device of this name in the table, in upper or lower case.
    ///
    /// # Errors
    /// [`Error::UnknownDevice`] with names like it.
    pub fn by_id(id: &str) -> Result<Device, Error> {
        let wanted = plain(id);
        let found = DEVICES.iter().find(|row| plain(row.id) == wanted || plain(row.name) == wanted);
        found.map(Device::of).ok_or_else(|| Error::UnknownDevice {
            name: id.chars().filter(|c| !c.is_control()).take(64).collect(),
            near: near(&wanted),
        })
    }

    /// The devices of these names, as [`Device::by_id`] finds them, in their order and each once.
    ///
    /// # Errors
    /// [`Error::NoDeviceName`], [`Error::UnknownDevice`].
    pub fn by_ids(ids: &[String]) -> Result<Vec<Device>, Error> {
        let mut devices: Vec<Device> = Vec::new();
        for id in ids {
            if id.trim().is_empty() {
                return Err(Error::NoDeviceName);
            }
            let device = Device::by_id(id)?;
            if devices.iter().all(|other| other.id != device.id) {
                devices.push(device);
            }
        }
        Ok(devices)
    }

    /// The device that a driver or device tree calls `name`, for example `NVIDIA GeForce RTX 4090`
    /// or `NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super`; none where the name is
    /// not known, or the memory is another one's. A Jetson's memory must be given, since there are
    /// modules of one name with less.
    pub fn by_system_name(name: &str, memory_bytes: Option<u64>) -> Option<Device> {
        let fits = |row: &&Row| {
            let visible = u64::from(row.visible_mib) << 20;
            let same_memory = match memory_bytes {
                Some(bytes) => bytes.abs_diff(visible) <= visible / 10,
                None => !row.unified,
            };
            // Behind a card's name stand words that make it another one: `Ti`, `Laptop GPU`.
            let whole = row.unified || row.words.iter().any(|word| name.trim_end().ends_with(word));
            same_memory && whole && row.words.iter().all(|word| has_words(name, word))
        };
        // Of "Orin Nano" and "Orin Nano ... Super" the one that says more.
        DEVICES.iter().filter(fits).max_by_key(|row| row.words.len()).map(Device::of)
    }

    /// The same board in the configuration with higher clocks, which has a mode called
    /// `MAXN_SUPER`; the device itself where it has none.
    #[must_use]
    pub fn in_super_mode(self) -> Device {
        Device::by_id(&format!("{}-super", self.id)).unwrap_or(self)
    }

    /// A device by its numbers. Its memory is taken to be free but for what a card's driver needs.
    ///
    /// # Errors
    /// [`Error::Option`] for numbers that are not greater than zero, or absurd.
    pub fn custom(custom: CustomDevice) -> Result<Device, Error> {
        let CustomDevice { memory_gb, bandwidth_gbs, f16_tflops, watts } = custom;
        let gib = positive("--memory-gb", memory_gb)?;
        let visible_bytes = (gib * (1_u64 << 30) as f64) as u64;
        let mode = Mode {
            name: "custom".to_owned(),
            watts: watts.map(|watts| positive("--watts", watts)).transpose()?,
            bandwidth_gbs: positive("--bandwidth-gbs", bandwidth_gbs)?,
            f16_tflops: positive("--f16-tflops", f16_tflops)?,
        };
        Ok(Device {
            id: "custom".to_owned(),
            name: "device as described".to_owned(),
            memory_gb,
            visible_bytes,
            system_bytes: CARD_SYSTEM_BYTES.min(visible_bytes),
            unified: true,
            runs: Runs::All,
            compute_capability: None,
            modes: vec![mode],
        })
    }

    /// The mode of this name, in upper or lower case; without a name the default.
    ///
    /// # Errors
    /// [`Error::UnknownMode`].
    pub fn mode(&self, name: Option<&str>) -> Result<&Mode, Error> {
        let found = match name {
            None => self.modes.first(),
            Some(name) => self.modes.iter().find(|mode| same_mode(&mode.name, name)),
        };
        found.ok_or_else(|| {
            let names: Vec<&str> = self.modes.iter().map(|mode| mode.name.as_str()).collect();
            Error::UnknownMode {
                device: self.name.clone(),
                mode: name.unwrap_or_default().chars().filter(|c| !c.is_control()).collect(),
                known: names.join(", "),
            }
        })
    }

    fn of(row: &Row) -> Device {
        let mode = |mode: &table::ModeRow| {
            let (rate, bandwidth) = match (row.full, mode.clocks) {
                (Some(full), Some(now)) => (
                    f64::from(now.tpcs * now.gpu_mhz) / f64::from(full.tpcs * full.gpu_mhz),
                    f64::from(now.memory_mhz) / f64::from(full.memory_mhz),
                ),
                _ => (1.0, 1.0),
            };
            Mode {
                name: mode.name.to_owned(),
                watts: mode.watts,
                bandwidth_gbs: row.bandwidth_gbs * bandwidth,
                f16_tflops: row.f16_tflops * rate,
            }
        };
        Device {
            id: row.id.to_owned(),
            name: row.name.to_owned(),
            memory_gb: f64::from(row.memory_gb),
            visible_bytes: u64::from(row.visible_mib) << 20,
            system_bytes: if row.unified { JETSON_SYSTEM_BYTES } else { CARD_SYSTEM_BYTES },
            unified: row.unified,
            runs: Runs::Engines,
            compute_capability: Some(row.compute_capability),
            modes: row.modes.iter().map(mode).collect(),
        }
    }
}

fn positive(option: &'static str, value: f64) -> Result<f64, Error> {
    match (1e-6..=1e9).contains(&value) {
        true => Ok(value),
        false => {
            let reason = "it must be 0.000001 to 1,000,000,000".to_owned();
            // Hundreds of digits say less.
            let is_short = value == 0.0 || (1e-6..1e16).contains(&value.abs());
            let value = if is_short { value.to_string() } else { format!("{value:e}") };
            Err(Error::Option { option, value, reason })
        }
    }
}

/// `25W`, `25`, `25 W` and `MODE_25W` are one mode.
pub(crate) fn same_mode(known: &str, typed: &str) -> bool {
    let plain = |name: &str| {
        let name = plain(name);
        let name = name.strip_prefix("mode").unwrap_or(&name).to_owned();
        name.strip_suffix('w').map(str::to_owned).unwrap_or(name)
    };
    plain(known) == plain(typed)
}

/// Letters and digits, in lower case.
fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// Whether `words` are in `name` and end where a word ends: `NVIDIA A10` is not in `NVIDIA A100`.
fn has_words(name: &str, words: &str) -> bool {
    let (name, words) = (name.to_ascii_lowercase(), words.to_ascii_lowercase());
    name.match_indices(&words).any(|(start, found)| {
        let behind = name.get(start + found.len()..).and_then(|rest| rest.chars().next());
        behind.is_none_or(|c| !c.is_ascii_alphanumeric())
    })
}

/// Up to three devices whose names are like `wanted`, the likest first.
fn near(wanted: &str) -> Vec<String> {
    if wanted.is_empty() || wanted.len() > 64 {
        return Vec::new();
    }
    let mut all: Vec<(usize, &str)> = DEVICES
        .iter()
        .map(|row| {
            let id = plain(row.id);
            let within = id.contains(wanted) || wanted.contains(&id);
            (if within { 1 } else { distance(&id, wanted) }, row.id)
        })
        .filter(|(distance, id)| *distance <= 1.max(id.len() / 3))
        .collect();
    all.sort();
    all.into_iter().take(3).map(|(_, id)| id.to_owned()).collect()
}

/// Letters to insert, delete or replace.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
