//! Where it was measured: everything that can make two results differ besides the code.

use serde::{Deserialize, Serialize};

use super::bounded;

/// The machine, its state before and after, and the program.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Environment {
    /// When measuring began, in UTC, as RFC 3339: `2026-11-24T21:03:07Z`.
    pub time: String,
    /// The program that measured.
    pub build: Build,
    /// The operating system.
    #[serde(default)]
    pub os: OperatingSystem,
    /// The processor.
    #[serde(default)]
    pub processor: Processor,
    /// Main memory, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub main_memory_bytes: Option<u64>,
    /// The board, on a Jetson.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub board: Option<Board>,
    /// What ran the graphs.
    pub library: Library,
    /// Threads of the processor that share the work of one operator; none where a device does it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<u64>,
    /// The device; none where the processor did the work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<Device>,
    /// The power mode, for example `MAXN_SUPER` or `250 W`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_mode: Option<String>,
    /// Clocks, temperatures and throttling before the first repetition.
    #[serde(default)]
    pub before: Conditions,
    /// The same while repetitions ran, from a look now and then: the highest temperatures, the
    /// lowest clocks, and all that held clocks down; nothing where it was not looked.
    #[serde(default)]
    pub during: Conditions,
    /// The same after the last one.
    #[serde(default)]
    pub after: Conditions,
}

impl Environment {
    /// The machine's states in the order of time, each with its name.
    pub fn moments(&self) -> [(&'static str, &Conditions); 3] {
        [("before", &self.before), ("during", &self.during), ("after", &self.after)]
    }
}

/// The program that measured.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Build {
    /// Version of `cumo`.
    pub version: String,
    /// The commit it was built from, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The cargo profile: `release` or `debug`.
    pub profile: String,
}

/// The operating system.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct OperatingSystem {
    /// Its name and version, for example `Ubuntu 22.04.5 LTS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The kernel's release, for example `5.15.148-tegra`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
}

/// The processor.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Processor {
    /// Its name, where the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Instruction set, for example `aarch64`.
    pub architecture: String,
    /// Physical cores that the process may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub physical_cores: Option<u64>,
    /// Hardware threads that the process may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logical_cores: Option<u64>,
    /// Vector and matrix extensions that speed up inference, for example `avx512f`.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "bounded::rows")]
    pub features: Vec<String>,
}

/// A Jetson's board.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Board {
    /// The model, as the device tree tells it.
    pub name: String,
    /// JetPack's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jetpack: Option<String>,
    /// The version of Jetson Linux (L4T).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jetson_linux: Option<String>,
}

/// What ran the graphs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Library {
    /// `ONNX Runtime`, `TensorRT` or `TensorRT-RTX`.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// A device with tensor units of its own.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Device {
    /// Its name, for example `NVIDIA GeForce RTX 4090`.
    pub name: String,
    /// `89` for compute capability 8.9.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute_capability: Option<u32>,
    /// Its memory, in bytes; on a Jetson, what it shares with the processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// The driver's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// CUDA's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cuda: Option<String>,
}

/// The machine's state at one moment.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Conditions {
    /// Temperatures.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "bounded::rows")]
    pub temperatures: Vec<Temperature>,
    /// Clocks.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "bounded::rows")]
    pub clocks: Vec<Clock>,
    /// Why clocks were held down, a name each; an empty list where it was looked and nothing held
    /// them down, absent where the system does not tell. A card tells while it works.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "bounded::optional_rows"
    )]
    pub throttling: Option<Vec<String>>,
    /// Runnable processes, the mean of the last minute (`/proc/loadavg`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_average: Option<f64>,
}

/// A temperature.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Temperature {
    /// The sensor's name, for example `gpu-thermal`.
    pub sensor: String,
    /// Degrees Celsius.
    pub celsius: f64,
}

/// A clock.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Clock {
    /// Whose it is, for example `gpu`, `cpu0` or `memory`.
    pub name: String,
    /// What it is now, in hertz.
    pub hz: u64,
    /// The most that it may be in this power mode, in hertz.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_hz: Option<u64>,
}
