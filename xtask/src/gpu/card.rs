//! The machine's GPU, as far as it is known before anything of ours runs on it.

use std::path::Path;
use std::process::{Command, Stdio};

use super::kernels;
use crate::process;

/// What the driver's tool says of a GPU.
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

/// Whether there may be a GPU, also where `nvidia-smi` does not know it.
pub(super) fn may_be_there() -> bool {
    DEVICE_FILES.iter().any(|file| Path::new(file).exists())
}

/// The GPUs, by `nvidia-smi`, in its order, which need not be CUDA's; none where there is no such
/// tool, or it says nothing of use.
pub(super) fn cards() -> Vec<Card> {
    let mut tool = Command::new("nvidia-smi");
    tool.args([
        "--query-gpu=name,driver_version,compute_cap,memory.total",
        "--format=csv,noheader,nounits",
    ]);
    let text = process::capture(tool.stdin(Stdio::null())).map(|it| it.stdout).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().filter_map(parse).collect()
}

fn parse(line: &str) -> Option<Card> {
    let fields: Vec<_> = line.split(',').map(str::trim).collect();
    let [name, driver, capability, memory] = fields.as_slice() else { return None };
    let architecture = parse_capability(capability)?;
    let memory_gb = memory.parse::<f64>().ok().map(|mebibytes| mebibytes / 1024.0);
    let text = format!("{name}, driver {driver}");
    Some(Card { name: (*name).to_owned(), text, architecture, memory_gb })
}

/// The card that `device_test` describes: `NAME, compute capability 8.6, ...`.
pub(super) fn of_description(text: &str) -> Option<Card> {
    let line = kernels::description(text)?;
    let (name, rest) = line.split_once(", compute capability ")?;
    let architecture = parse_capability(rest.split(',').next()?)?;
    Some(Card { name: name.to_owned(), text: name.to_owned(), architecture, memory_gb: None })
}

/// `8.6` as 86.
pub(crate) fn parse_capability(text: &str) -> Option<u32> {
    let (major, minor) = text.trim().split_once('.')?;
    let (major, minor) = (major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?);
    (minor < 10 && major < 1000).then_some(10 * major + minor)
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

/// The code to compile for cards: of each what [`code_for`] says; none where nothing is known for
/// any.
pub(super) fn code_for_all(cards: &[Card], known: &[&str]) -> Option<Vec<u32>> {
    let mut code: Vec<u32> =
        cards.iter().filter_map(|card| code_for(card.architecture, known)).collect();
    // Below 8.0 the kernels do not compile.
    code.retain(|code| *code >= 80);
    code.sort_unstable();
    code.dedup();
    (!code.is_empty()).then_some(code)
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
        let card = parse("NVIDIA RTX A2000, 580.65.06, 8.6, 12288").unwrap();
        assert_eq!(card.name, "NVIDIA RTX A2000");
        assert_eq!(card.memory_gb, Some(12.0));
        let orin = parse("Orin (nvgpu), 540.4.0, 8.7, [N/A]").unwrap();
        assert_eq!((orin.architecture, orin.memory_gb), (87, None));
        assert_eq!(card.text, "NVIDIA RTX A2000, driver 580.65.06");
        assert_eq!(card.architecture, 86);
        assert_eq!(parse("Orin (nvgpu), N/A, N/A, N/A"), None);
        assert_eq!(parse("No devices were found"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn the_kernels_test_names_a_card() {
        let text = "Orin, compute capability 8.7, 8 multiprocessors, at most 17 TFLOP/s, 68 GB/s\n";
        let card = of_description(text).unwrap();
        assert_eq!((card.name.as_str(), card.architecture, card.memory_gb), ("Orin", 87, None));
        assert_eq!(of_description("skipped: no device (no driver)\n"), None);
        assert_eq!(parse_capability("12.1"), Some(121));
        assert_eq!(parse_capability("9"), None);
        assert_eq!(parse_capability("8.10"), None);
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
        let card = |architecture| Card {
            name: String::new(),
            text: String::new(),
            architecture,
            memory_gb: None,
        };
        let all = |architectures: &[u32]| {
            let cards: Vec<_> = architectures.iter().map(|it| card(*it)).collect();
            code_for_all(&cards, &known)
        };
        assert_eq!(all(&[75, 90, 80, 90]), Some(vec![80, 90]));
        assert_eq!(all(&[75]), None);
        assert_eq!(all(&[]), None);
    }
}
