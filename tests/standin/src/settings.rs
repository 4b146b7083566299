//! What a stand-in is to be, and where it is to fail.

use serde::{Deserialize, Serialize};

/// What a stand-in is to be, and where it is to fail. By default: a device of 8 GiB without faults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// TensorRT's version: no real one begins with 0.
    pub version: String,
    /// Whether engines can be built; otherwise it is a lean runtime.
    pub can_build: bool,
    /// The device; none: there is no driver.
    pub device: Option<DeviceSettings>,
    /// Whether the plugin's library has the kernels that a runtime calls itself.
    pub has_kernels: bool,
    /// Whether work is done as soon as it is put on a stream, instead of as late as it may be.
    pub is_eager: bool,
    /// The allocation that fails for want of memory, from 1: of buffers, pinned memory, engines,
    /// contexts and graphs.
    pub fail_allocation: Option<u64>,
    /// The call at which the device is lost, from 1: of those that need the device.
    pub lose_device_at_call: Option<u64>,
    /// The execution of an engine at which the device is lost, from 1, those of graphs among them.
    pub lose_device_at_execution: Option<u64>,
    /// Milliseconds that every execution takes at least.
    pub execution_milliseconds: f64,
    /// Whether every call that needs the device is written to `trace.txt`.
    pub is_traced: bool,
}

/// A device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeviceSettings {
    /// Its name.
    pub name: String,
    /// `86` for 8.6.
    pub compute_capability: i32,
    /// The newest CUDA of the driver: 13000 is 13.0.
    pub driver: i32,
    /// Streaming multiprocessors.
    pub multiprocessors: i32,
    /// Whether host and device share their memory.
    pub is_integrated: bool,
    /// Its memory in bytes.
    pub total_bytes: u64,
    /// What other programs have of it, in bytes.
    pub used_elsewhere_bytes: u64,
    /// Its place on the PCI bus; empty: it has none.
    pub pci_bus_id: String,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            version: "0.0.0.1".to_owned(),
            can_build: true,
            device: Some(DeviceSettings::default()),
            has_kernels: true,
            is_eager: false,
            fail_allocation: None,
            lose_device_at_call: None,
            lose_device_at_execution: None,
            execution_milliseconds: 0.0,
            is_traced: false,
        }
    }
}

impl Default for DeviceSettings {
    fn default() -> Self {
        DeviceSettings {
            name: "Stand-in".to_owned(),
            compute_capability: 89,
            driver: 13000,
            multiprocessors: 8,
            is_integrated: false,
            total_bytes: 8 << 30,
            used_elsewhere_bytes: 0,
            pci_bus_id: "0000:01:00.0".to_owned(),
        }
    }
}
