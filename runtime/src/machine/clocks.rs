//! Clocks of processor and integrated GPU: what they run at, and between which limits they may.

use serde::Serialize;

use super::Machine;
use super::root::Root;

/// A clock, in Hz.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Clock {
    /// The GPU's device, or the cores of a processor that share the clock: `cpu 0-3`.
    pub name: String,
    /// What it runs at now.
    pub current_hz: Option<u64>,
    /// The lowest that it may be set to now.
    pub min_hz: u64,
    /// The highest that it may be set to now, as power mode and driver allow.
    pub max_hz: u64,
    /// The highest that the hardware has, whatever the power mode.
    pub hardware_max_hz: Option<u64>,
    /// Who chooses between the limits: `schedutil`, `performance`, `nvhost_podgov`.
    pub governor: Option<String>,
}

impl Clock {
    /// Whether it stays at the highest that is allowed: limits that leave no choice, or a governor
    /// that makes none.
    pub fn is_pinned(&self) -> bool {
        self.min_hz == self.max_hz || self.governor.as_deref() == Some("performance")
    }
}

impl Machine {
    /// Clocks of the GPU that is part of the processor, from `/sys/class/devfreq`.
    pub fn gpu_clocks(&self) -> Vec<Clock> {
        let devices = self.root.entries("/sys/class/devfreq", "");
        devices.iter().filter_map(|device| gpu_clock(&self.root, device)).collect()
    }

    /// Clocks of the processor, one for each group of cores that share one.
    pub fn cpu_clocks(&self) -> Vec<Clock> {
        let policies = self.root.entries("/sys/devices/system/cpu/cpufreq", "policy");
        policies.iter().filter_map(|policy| cpu_clock(&self.root, policy)).collect()
    }

    /// Whether `jetson_clocks` is in force: every clock of GPU and processor is at its highest. None
    /// where no GPU's clock is known.
    pub fn jetson_clocks(&self) -> Option<bool> {
        let gpu = self.gpu_clocks();
        let all = gpu.iter().chain(&self.cpu_clocks()).all(Clock::is_pinned);
        (!gpu.is_empty()).then_some(all)
    }
}

fn gpu_clock(root: &Root, device: &str) -> Option<Clock> {
    let name = device.rsplit('/').next()?;
    let node = root.text(format!("{device}/device/of_node/name")).unwrap_or_default();
    if !is_gpu(name) && !is_gpu(&node) {
        return None;
    }
    let hz = |file: &str| root.number::<u64>(format!("{device}/{file}"));
    let offered = root.text(format!("{device}/available_frequencies")).unwrap_or_default();
    Some(Clock {
        name: name.to_owned(),
        current_hz: hz("cur_freq"),
        min_hz: hz("min_freq")?,
        max_hz: hz("max_freq")?,
        hardware_max_hz: offered.split_whitespace().filter_map(|hz| hz.parse().ok()).max(),
        governor: root.text(format!("{device}/governor")),
    })
}

/// `17000000.gpu` on Orin, `17000000.ga10b` in JetPack 5, `gpu-gpc-0` on Thor. Thor's `gpu-nvd-0`
/// clocks the video engines.
fn is_gpu(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    matches!(last, "gpu" | "gv11b" | "ga10b" | "gb10b") || name.starts_with("gpu-gpc-")
}

fn cpu_clock(root: &Root, policy: &str) -> Option<Clock> {
    let hz = |file: &str| root.number::<u64>(format!("{policy}/{file}"))?.checked_mul(1000);
    let cores = root.text(format!("{policy}/related_cpus")).unwrap_or_default();
    Some(Clock {
        name: format!("cpu {}", ranges(&cores)),
        current_hz: hz("scaling_cur_freq"),
        min_hz: hz("scaling_min_freq")?,
        max_hz: hz("scaling_max_freq")?,
        hardware_max_hz: hz("cpuinfo_max_freq"),
        governor: root.text(format!("{policy}/scaling_governor")),
    })
}

/// Numbers as ranges: `0 1 2 3 8` is `0-3,8`.
fn ranges(numbers: &str) -> String {
    let numbers = numbers.split_whitespace().filter_map(|number| number.parse::<u64>().ok());
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let text = |&(first, last): &(u64, u64)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    ranges.iter().map(text).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::Board;
    use super::*;

    const GPU: &str = "/sys/class/devfreq/17000000.gpu";
    const CPU: &str = "/sys/devices/system/cpu/cpufreq/policy0";

    fn board() -> Board {
        Board::new()
            .files(
                GPU,
                &[
                    ("cur_freq", "306000000"),
                    ("min_freq", "306000000"),
                    ("max_freq", "624750000"),
                    ("available_frequencies", "306000000 624750000 1020000000"),
                    ("governor", "nvhost_podgov"),
                ],
            )
            .files("/sys/class/devfreq/15340000.vic", &[("min_freq", "1"), ("max_freq", "2")])
            .files(
                CPU,
                &[
                    ("related_cpus", "0 1 2 3"),
                    ("scaling_cur_freq", "729600"),
                    ("scaling_min_freq", "729600"),
                    ("scaling_max_freq", "1510400"),
                    ("cpuinfo_max_freq", "1728000"),
                    ("scaling_governor", "schedutil"),
                ],
            )
    }

    #[test]
    fn clocks_are_in_hz_and_of_gpu_and_cores_only() {
        let board = board();
        let machine = board.machine();
        let gpu = machine.gpu_clocks();
        assert_eq!(gpu.len(), 1);
        assert_eq!(gpu[0].name, "17000000.gpu");
        assert_eq!((gpu[0].min_hz, gpu[0].max_hz), (306_000_000, 624_750_000));
        assert_eq!(gpu[0].hardware_max_hz, Some(1_020_000_000));
        let cpu = machine.cpu_clocks();
        assert_eq!((cpu[0].name.as_str(), cpu[0].max_hz), ("cpu 0-3", 1_510_400_000));
        assert_eq!(cpu[0].current_hz, Some(729_600_000));
    }

    #[test]
    fn jetson_clocks_is_on_where_no_clock_has_a_choice() {
        let off = board();
        assert_eq!(off.machine().jetson_clocks(), Some(false));
        let gpu_only = board().files(GPU, &[("min_freq", "624750000")]);
        assert_eq!(gpu_only.machine().jetson_clocks(), Some(false));
        let on = gpu_only.files(CPU, &[("scaling_min_freq", "1510400")]);
        assert_eq!(on.machine().jetson_clocks(), Some(true));
        let governors = board()
            .files(GPU, &[("governor", "performance")])
            .files(CPU, &[("scaling_governor", "performance")]);
        assert_eq!(governors.machine().jetson_clocks(), Some(true));
        assert_eq!(Board::new().machine().jetson_clocks(), None);
    }

    #[test]
    fn a_clock_without_limits_is_left_out() {
        let broken = board().files(GPU, &[("max_freq", "fast")]);
        assert!(broken.machine().gpu_clocks().is_empty());
        let overflow = board().files(CPU, &[("scaling_max_freq", &u64::MAX.to_string())]);
        assert!(overflow.machine().cpu_clocks().is_empty());
    }

    #[test]
    fn thor_has_a_clock_for_its_graphics_part() {
        assert!(is_gpu("gpu-gpc-0") && is_gpu("17000000.ga10b"));
        assert!(!is_gpu("gpu-nvd-0") && !is_gpu("15340000.vic") && !is_gpu(""));
    }

    proptest! {
        #[test]
        fn any_list_of_cores_is_read(text in "[0-9 x-]{0,60}") {
            ranges(&text);
        }
    }

    #[test]
    fn cores_are_told_as_ranges() {
        assert_eq!(ranges("0 1 2 3 8"), "0-3,8");
        assert_eq!(ranges(&format!("{0} {0} x", u64::MAX)), format!("{0},{0}", u64::MAX));
    }
}
