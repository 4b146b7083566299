//! What this machine is: processor, cores, memory, NVIDIA driver.
//!
//! Everything is read from files that Linux offers; where they are not there, the answer is that
//! it is not known.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use serde::Serialize;

/// Main memory and swap, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Main memory.
    pub total_bytes: u64,
    /// Main memory that programs can have without swapping.
    pub available_bytes: u64,
    /// Swap.
    pub swap_total_bytes: u64,
    /// Swap not in use.
    pub swap_free_bytes: u64,
}

/// The processor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Processor {
    /// Its name, where the system tells.
    pub model: Option<String>,
    /// Instruction set, for example `x86_64`.
    pub architecture: &'static str,
    /// Physical cores that this process may use.
    pub physical_cores: usize,
    /// Hardware threads that this process may use.
    pub logical_cores: usize,
    /// Vector and matrix extensions that speed up inference, of those there are.
    pub features: Vec<&'static str>,
}

/// The NVIDIA driver and libraries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Nvidia {
    /// The driver's version, where the kernel module is loaded.
    pub driver: Option<String>,
    /// Libraries that were found, of `libcuda` and TensorRT's.
    pub libraries: Vec<PathBuf>,
}

/// Physical cores that this process may use: as many as hardware threads where the system does not
/// tell which of them share a core; at least one.
pub fn physical_cores() -> usize {
    let logical = thread::available_parallelism().map_or(1, usize::from);
    let cpus = match fs::read_dir("/sys/devices/system/cpu") {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(_) => Vec::new(),
    };
    let core = |cpu: &PathBuf| {
        let read = |name: &str| fs::read_to_string(cpu.join("topology").join(name)).ok();
        Some((read("physical_package_id")?, read("core_id")?))
    };
    let cores: BTreeSet<(String, String)> = cpus.iter().filter_map(core).collect();
    match cores.len() {
        0 => logical,
        cores => cores.min(logical),
    }
}

/// The most threads that are worth having: four for each hardware thread that this process may use,
/// and 64 where that is fewer. Each takes memory and a turn, and thousands bring a machine to a halt.
pub fn max_threads() -> usize {
    let logical = thread::available_parallelism().map_or(1, usize::from);
    logical.saturating_mul(4).max(64)
}

/// The processor of this machine.
pub fn processor() -> Processor {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    Processor {
        model: cpu_model(&info),
        architecture: std::env::consts::ARCH,
        physical_cores: physical_cores(),
        logical_cores: thread::available_parallelism().map_or(1, usize::from),
        features: cpu_features(&info),
    }
}

fn cpu_model(info: &str) -> Option<String> {
    let value = |key: &str| {
        let line = info.lines().find(|line| line.split(':').next().map(str::trim) == Some(key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    value("model name").or_else(|| value("Model"))
}

fn cpu_features(info: &str) -> Vec<&'static str> {
    const WANTED: [&str; 17] = [
        "sse4_2",
        "avx",
        "f16c",
        "fma",
        "avx2",
        "avx_vnni",
        "avx512f",
        "avx512bw",
        "avx512_vnni",
        "avx512_bf16",
        "avx512_fp16",
        "amx_tile",
        "amx_int8",
        "amx_bf16",
        "asimd",
        "asimdhp",
        "asimddp",
    ];
    let line = info.lines().find(|line| line.starts_with("flags") || line.starts_with("Features"));
    let found: BTreeSet<&str> = line.unwrap_or_default().split_whitespace().collect();
    WANTED.into_iter().filter(|feature| found.contains(feature)).collect()
}

/// Memory of this machine, where `/proc/meminfo` tells.
pub fn memory() -> Option<Memory> {
    parse_meminfo(&fs::read_to_string("/proc/meminfo").ok()?)
}

fn parse_meminfo(text: &str) -> Option<Memory> {
    let bytes = |key: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    Some(Memory {
        total_bytes: bytes("MemTotal")?,
        available_bytes: bytes("MemAvailable")?,
        swap_total_bytes: bytes("SwapTotal").unwrap_or(0),
        swap_free_bytes: bytes("SwapFree").unwrap_or(0),
    })
}

/// The largest amount of memory that this process has had, in bytes.
pub fn peak_memory_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The NVIDIA driver and libraries of this machine. Nothing is loaded to find them.
pub fn nvidia() -> Nvidia {
    let driver = fs::read_to_string("/proc/driver/nvidia/version").ok();
    let mut libraries: Vec<PathBuf> = library_folders()
        .iter()
        .flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten())
        .map(|entry| entry.path())
        .filter(|path| is_nvidia_library(path))
        .collect();
    libraries.sort();
    Nvidia { driver: driver.as_deref().and_then(driver_version), libraries }
}

fn is_nvidia_library(path: &Path) -> bool {
    const NAMES: [&str; 4] =
        ["libcuda.so.1", "libnvinfer.so.", "libnvinfer_lean.so.", "libtensorrt_rtx.so."];
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    NAMES.iter().any(|wanted| name.starts_with(wanted))
}

fn library_folders() -> Vec<PathBuf> {
    let architecture = std::env::consts::ARCH;
    let mut folders: Vec<PathBuf> = std::env::var_os("LD_LIBRARY_PATH")
        .map(|p| std::env::split_paths(&p).collect())
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
    use super::*;

    #[test]
    fn meminfo_is_read_in_bytes() {
        let text = "MemTotal:       24000 kB\nMemFree: 1 kB\nMemAvailable:   20000 kB\nSwapTotal: 8 kB\nSwapFree: 4 kB\n";
        let memory = parse_meminfo(text).unwrap();
        assert_eq!(memory.total_bytes, 24_576_000);
        assert_eq!(memory.available_bytes, 20_480_000);
        assert_eq!((memory.swap_total_bytes, memory.swap_free_bytes), (8192, 4096));
        assert_eq!(parse_meminfo("MemTotal: many kB"), None);
    }

    #[test]
    fn features_are_whole_words_of_the_flags() {
        let info = "model name\t: A CPU\nflags\t\t: fpu avx2 avx512f fma\n";
        assert_eq!(cpu_features(info), ["fma", "avx2", "avx512f"]);
        assert_eq!(cpu_model(info).as_deref(), Some("A CPU"));
    }

    #[test]
    fn the_drivers_version_is_found_in_both_forms() {
        let closed = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12\n";
        let open = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release\n";
        assert_eq!(driver_version(closed).as_deref(), Some("535.183.01"));
        assert_eq!(driver_version(open).as_deref(), Some("580.65.06"));
        assert_eq!(driver_version("nothing"), None);
    }

    #[test]
    fn there_is_at_least_one_core() {
        assert!(physical_cores() >= 1);
    }
}
