//! NVIDIA's driver, cards and libraries.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Machine;
use super::root::Root;

/// The NVIDIA driver, cards and libraries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Nvidia {
    /// The driver's version, where the kernel module is loaded.
    pub driver: Option<String>,
    /// Names of the cards that the driver drives, for example `NVIDIA GeForce RTX 4090`.
    pub cards: Vec<String>,
    /// NVIDIA's graphics devices on the PCI bus, with a driver or without.
    pub pci_devices: usize,
    /// Libraries that were found, of `libcuda` and TensorRT's.
    pub libraries: Vec<PathBuf>,
}

impl Machine {
    /// The NVIDIA driver and libraries. Nothing is loaded to find them.
    pub fn nvidia(&self) -> Nvidia {
        Nvidia {
            driver: self.nvidia_driver(),
            cards: cards(&self.root),
            pci_devices: pci_devices(&self.root),
            libraries: libraries(&self.root),
        }
    }

    /// The version of NVIDIA's driver, where its kernel module is loaded.
    pub fn nvidia_driver(&self) -> Option<String> {
        driver_version(&self.root.text("/proc/driver/nvidia/version")?)
    }
}

fn cards(root: &Root) -> Vec<String> {
    let model = |gpu: String| {
        let text = root.text(format!("{gpu}/information"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Model:"))?;
        Some(line.trim().to_owned())
    };
    root.entries("/proc/driver/nvidia/gpus", "").into_iter().filter_map(model).collect()
}

/// Devices whose vendor number is 0x10de and whose class is display (0x03).
fn pci_devices(root: &Root) -> usize {
    let is = |device: &String, name: &str, value: &str| {
        root.text(format!("{device}/{name}")).is_some_and(|text| text.starts_with(value))
    };
    let devices = root.entries("/sys/bus/pci/devices", "");
    let graphics = |device: &&String| is(device, "vendor", "0x10de") && is(device, "class", "0x03");
    devices.iter().filter(graphics).count()
}

fn libraries(root: &Root) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = folders()
        .iter()
        .flat_map(|folder| root.entries(&folder.to_string_lossy(), "lib"))
        .map(PathBuf::from)
        .filter(|path| is_nvidia_library(path))
        .collect();
    found.sort();
    found.dedup();
    found
}

fn is_nvidia_library(path: &Path) -> bool {
    const NAMES: [&str; 4] =
        ["libcuda.so.1", "libnvinfer.so.", "libnvinfer_lean.so.", "libtensorrt_rtx.so."];
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    NAMES.iter().any(|wanted| name.starts_with(wanted))
}

fn folders() -> Vec<PathBuf> {
    let architecture = std::env::consts::ARCH;
    let mut folders: Vec<PathBuf> = std::env::var_os("LD_LIBRARY_PATH")
        .map(|p| std::env::split_paths(&p).filter(|path| path.is_absolute()).collect())
        .unwrap_or_default();
    folders.extend(
        [
            format!("/usr/lib/{architecture}-linux-gnu"),
            format!("/usr/lib/{architecture}-linux-gnu/nvidia"),
            format!("/usr/lib/{architecture}-linux-gnu/tegra"),
            "/usr/lib64".to_owned(),
            "/usr/lib/wsl/lib".to_owned(),
            "/usr/local/nvidia/lib64".to_owned(),
            "/usr/local/cuda/lib64".to_owned(),
            "/usr/local/lib".to_owned(),
        ]
        .map(PathBuf::from),
    );
    folders
}

/// The version in `/proc/driver/nvidia/version`: the first word after `Kernel Module`, or after
/// `Kernel Module for x86_64` in open modules, that starts with a digit.
fn driver_version(text: &str) -> Option<String> {
    let rest = text.lines().next()?.split_once("Kernel Module")?.1;
    let is_version =
        |word: &&str| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.');
    rest.split_whitespace().find(is_version).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Board;
    use super::*;

    #[test]
    fn the_drivers_version_is_found_in_both_forms() {
        let closed = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12\n";
        let open = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release\n";
        assert_eq!(driver_version(closed).as_deref(), Some("535.183.01"));
        assert_eq!(driver_version(open).as_deref(), Some("580.65.06"));
        assert_eq!(driver_version("nothing"), None);
    }

    #[test]
    fn a_card_is_told_by_its_driver_and_by_the_bus() {
        let folder = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
        let board = Board::new()
            .file("/proc/driver/nvidia/version", "NVRM version: Kernel Module  580.65.06  x\n")
            .file(
                "/proc/driver/nvidia/gpus/0000:01:00.0/information",
                "Model: \t\t NVIDIA GeForce RTX 4090\nIRQ: 100\n",
            )
            .files(
                "/sys/bus/pci/devices/0000:01:00.0",
                &[("vendor", "0x10de"), ("class", "0x030000")],
            )
            .files(
                "/sys/bus/pci/devices/0000:01:00.1",
                &[("vendor", "0x10de"), ("class", "0x040300")],
            )
            .files(
                "/sys/bus/pci/devices/0000:00:02.0",
                &[("vendor", "0x8086"), ("class", "0x030000")],
            )
            .file(&format!("{folder}/libcuda.so.1"), "")
            .file(&format!("{folder}/libcudart.so.13"), "");
        let nvidia = board.machine().nvidia();
        assert_eq!(nvidia.driver.as_deref(), Some("580.65.06"));
        assert_eq!(nvidia.cards, ["NVIDIA GeForce RTX 4090"]);
        assert_eq!(nvidia.pci_devices, 1);
        assert_eq!(nvidia.libraries, [PathBuf::from(format!("{folder}/libcuda.so.1"))]);
    }
}
