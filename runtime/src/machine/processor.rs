//! The processor: name, cores, extensions.

use std::collections::BTreeSet;
use std::thread;

use serde::Serialize;

use super::Machine;
use super::root::Root;

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

/// Cores of Arm's and NVIDIA's, by implementer and part: Linux gives no name there.
const ARM_CORES: [(&str, &str, &str); 8] = [
    ("0x41", "0xd08", "Cortex-A72"),
    ("0x41", "0xd0b", "Cortex-A76"),
    ("0x41", "0xd0c", "Neoverse-N1"),
    ("0x41", "0xd42", "Cortex-A78AE"),
    ("0x41", "0xd49", "Neoverse-N2"),
    ("0x41", "0xd4f", "Neoverse-V2"),
    ("0x41", "0xd83", "Neoverse-V3AE"),
    ("0x4e", "0x004", "Carmel"),
];

impl Machine {
    /// The processor.
    pub fn processor(&self) -> Processor {
        let info = self.root.text("/proc/cpuinfo").unwrap_or_default();
        Processor {
            model: model(&info),
            architecture: std::env::consts::ARCH,
            physical_cores: physical_cores_below(&self.root),
            logical_cores: logical_cores(),
            features: features(&info),
        }
    }
}

/// Physical cores that this process may use: as many as hardware threads where the system does not
/// tell which of them share a core; at least one.
pub fn physical_cores() -> usize {
    physical_cores_below(&Root::new("/".into()))
}

fn physical_cores_below(root: &Root) -> usize {
    let core = |cpu: &String| {
        let read = |name: &str| root.text(format!("{cpu}/topology/{name}"));
        Some((read("physical_package_id")?, read("core_id")?))
    };
    let cpus = root.entries("/sys/devices/system/cpu", "cpu");
    let cores: BTreeSet<(String, String)> = cpus.iter().filter_map(core).collect();
    match cores.len() {
        0 => logical_cores(),
        cores => cores.min(logical_cores()),
    }
}

/// The most threads that are worth having: four for each hardware thread that this process may use,
/// and 64 where that is fewer. Each takes memory and a turn, and thousands bring a machine to a halt.
pub fn max_threads() -> usize {
    logical_cores().saturating_mul(4).max(64)
}

fn logical_cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn model(info: &str) -> Option<String> {
    let value = |key: &str| {
        let line = info.lines().find(|line| line.split(':').next().map(str::trim) == Some(key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let arm = || {
        let (implementer, part) = (value("CPU implementer")?, value("CPU part")?);
        let known = ARM_CORES.iter().find(|core| core.0 == implementer && core.1 == part);
        known.map(|core| core.2.to_owned())
    };
    value("model name").or_else(arm).or_else(|| value("Model"))
}

fn features(info: &str) -> Vec<&'static str> {
    const WANTED: [&str; 20] = [
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
        "i8mm",
        "bf16",
        "sve2",
    ];
    let line = info.lines().find(|line| line.starts_with("flags") || line.starts_with("Features"));
    let found: BTreeSet<&str> = line.unwrap_or_default().split_whitespace().collect();
    WANTED.into_iter().filter(|feature| found.contains(feature)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::Board;
    use super::*;

    #[test]
    fn features_are_whole_words_of_the_flags() {
        let info = "model name\t: A CPU\nflags\t\t: fpu avx2 avx512f fma\n";
        assert_eq!(features(info), ["fma", "avx2", "avx512f"]);
        assert_eq!(model(info).as_deref(), Some("A CPU"));
    }

    #[test]
    fn cores_of_arm_are_named_by_their_numbers() {
        let info = "processor\t: 0\nFeatures\t: fp asimd asimdhp\nCPU implementer\t: 0x41\nCPU part\t: 0xd42\n";
        assert_eq!(model(info).as_deref(), Some("Cortex-A78AE"));
        assert_eq!(features(info), ["asimd", "asimdhp"]);
        assert_eq!(model("CPU implementer\t: 0x41\nCPU part\t: 0xfff\n"), None);
    }

    #[test]
    fn there_is_at_least_one_core() {
        assert!(physical_cores() >= 1);
        assert!(Board::new().machine().processor().physical_cores >= 1);
    }

    #[test]
    fn threads_that_share_a_core_are_one() {
        let core = [("physical_package_id", "0"), ("core_id", "3")];
        let board = Board::new()
            .files("/sys/devices/system/cpu/cpu0/topology", &core)
            .files("/sys/devices/system/cpu/cpu1/topology", &core)
            .file("/sys/devices/system/cpu/cpufreq/policy0/x", "");
        assert_eq!(board.machine().processor().physical_cores, 1);
    }
}
