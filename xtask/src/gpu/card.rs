//! The machine's GPU, as far as it is known before anything of ours runs on it.

use std::path::Path;
use std::process::{Command, Stdio};

/// What the driver's tool says of the first GPU.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Card {
    /// The driver's name for it.
    pub(super) name: String,
    /// Name and driver version, for people.
    pub(super) text: String,
    /// Compute capability, as `86` for 8.6.
    pub(super) architecture: u32,
    /// Its memory in GiB, where the tool says.
    pub(super) memory_gb: Option<f64>,
}

/// Device files that NVIDIA's drivers make: on a server or desktop, a Jetson, WSL.
const DEVICE_FILES: [&str; 5] =
    ["/dev/nvidiactl", "/dev/nvidia0", "/dev/nvhost-gpu", "/dev/nvgpu", "/dev/dxg"];

/// Whether there may be a GPU, also where [`card`] does not know it.
pub(super) fn may_be_there() -> bool {
    DEVICE_FILES.iter().any(|file| Path::new(file).exists())
}

/// The first GPU, by `nvidia-smi`; none where there is no such tool, or it says nothing of use.
pub(super) fn card() -> Option<Card> {
    let mut tool = Command::new("nvidia-smi");
    tool.args([
        "--query-gpu=name,driver_version,compute_cap,memory.total",
        "--format=csv,noheader,nounits",
    ]);
    let output = tool.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    parse(std::str::from_utf8(&output.stdout).ok()?)
}

fn parse(text: &str) -> Option<Card> {
    let fields: Vec<_> = text.lines().next()?.split(',').map(str::trim).collect();
    let [name, driver, capability, memory] = fields.as_slice() else { return None };
    let (major, minor) = capability.split_once('.')?;
    let architecture = 10 * major.parse::<u32>().ok()? + minor.parse::<u32>().ok()?;
    let memory_gb = memory.parse::<f64>().ok().map(|mebibytes| mebibytes / 1024.0);
    let text = format!("{name}, driver {driver}");
    Some(Card { name: (*name).to_owned(), text, architecture, memory_gb })
}

/// Whether the machine is a Jetson, whose GPU shares the host's memory.
pub(super) fn is_integrated() -> bool {
    let tree = std::fs::read_to_string("/proc/device-tree/compatible").unwrap_or_default();
    tree.contains("nvidia,tegra")
}

/// The host's memory in GiB: a Jetson's is the GPU's too.
pub(super) fn host_memory_gb() -> Option<f64> {
    parse_memory(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

fn parse_memory(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes / f64::from(1 << 20))
}

/// The code to compile for a GPU: its own, or the newest of its major number that it runs and
/// nvcc knows (`known`, as `sm_86`); none where there is neither.
pub(super) fn code_for(architecture: u32, known: &[&str]) -> Option<u32> {
    let known = known.iter().filter_map(|name| name.strip_prefix("sm_")?.parse::<u32>().ok());
    known.filter(|code| code / 10 == architecture / 10 && *code <= architecture).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_tool_says() {
        let cards = "NVIDIA RTX A2000, 580.65.06, 8.6, 12288\nNVIDIA T4, 580.65.06, 7.5, 15360\n";
        let card = parse(cards).unwrap();
        assert_eq!(card.name, "NVIDIA RTX A2000");
        assert_eq!(card.memory_gb, Some(12.0));
        let orin = parse("Orin (nvgpu), 540.4.0, 8.7, [N/A]\n").unwrap();
        assert_eq!((orin.architecture, orin.memory_gb), (87, None));
        assert_eq!(card.text, "NVIDIA RTX A2000, driver 580.65.06");
        assert_eq!(card.architecture, 86);
        assert_eq!(parse("Orin (nvgpu), N/A, N/A, N/A"), None);
        assert_eq!(parse("No devices were found\n"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn the_hosts_memory_is_a_line() {
        assert_eq!(parse_memory("MemTotal:        7340032 kB\nMemFree: 1 kB\n"), Some(7.0));
        assert_eq!(parse_memory("MemTotal: much\n"), None);
        assert_eq!(parse_memory(""), None);
    }

    #[test]
    fn code_is_the_cards_own_or_one_that_it_runs() {
        let known = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_90a", "sm_120", "sm_121"];
        assert_eq!(code_for(86, &known), Some(86));
        assert_eq!(code_for(89, &known), Some(86));
        assert_eq!(code_for(90, &known), Some(90));
        assert_eq!(code_for(121, &known), Some(121));
        assert_eq!(code_for(110, &known), None);
    }
}
