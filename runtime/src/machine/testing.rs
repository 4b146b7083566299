//! Made-up boards: files below a temporary folder, as Jetson Linux has them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use super::Machine;
use super::root::Root;

/// A board being laid out; its files go when it goes.
pub(crate) struct Board {
    folder: tempfile::TempDir,
}

impl Board {
    pub(crate) fn new() -> Self {
        Board { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn root(&self) -> Root {
        Root::new(self.folder.path().to_owned())
    }

    pub(crate) fn machine(&self) -> Machine {
        Machine::below(self.folder.path())
    }

    /// A machine whose programs may be run too.
    pub(crate) fn running_machine(&self) -> Machine {
        Machine { root: self.root(), runs_programs: true }
    }

    pub(crate) fn file(self, path: &str, text: &str) -> Self {
        self.bytes(path, text.as_bytes())
    }

    pub(crate) fn bytes(self, path: &str, bytes: &[u8]) -> Self {
        let path = self.root().path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        self
    }

    /// Files of one folder, as pairs of name and text; each text gets a line's end.
    pub(crate) fn files(self, folder: &str, files: &[(&str, &str)]) -> Self {
        let add = |board: Board, (name, text): &(&str, &str)| {
            board.file(&format!("{folder}/{name}"), &format!("{text}\n"))
        };
        files.iter().fold(self, add)
    }

    /// A shell script.
    pub(crate) fn program(self, path: &str, script: &str) -> Self {
        let board = self.file(path, &format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(board.root().path(path), Permissions::from_mode(0o755)).unwrap();
        board
    }

    pub(crate) fn link(self, path: &str, target: &str) -> Self {
        let path = self.root().path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
        self
    }

    /// An Orin Nano Super developer kit with JetPack 6.2, as it is after flashing.
    pub(crate) fn orin_nano() -> Self {
        let packages = "\
Package: nvidia-l4t-core\nStatus: install ok installed\nVersion: 36.4.3-20250107174145\n\n\
Package: libnvinfer10\nStatus: install ok installed\nVersion: 10.3.0.30-1+cuda12.5\n\n\
Package: libnvinfer-dev\nStatus: install ok installed\nVersion: 10.3.0.30-1+cuda12.5\n\n\
Package: nvidia-jetpack\nStatus: install ok installed\nVersion: 6.2+b77\n";
        Board::new()
            .file("/proc/device-tree/model", "NVIDIA Jetson Orin Nano Developer Kit Super\0")
            .file(
                "/proc/device-tree/compatible",
                "nvidia,p3768-0000+p3767-0005-super\0nvidia,p3767-0005\0nvidia,tegra234\0",
            )
            .file(
                "/etc/nv_tegra_release",
                "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n",
            )
            .file("/var/lib/dpkg/status", packages)
            .link("/etc/systemd/system/default.target", "/lib/systemd/system/graphical.target")
            .power_modes(
                &[(0, "15W", "612000000"), (1, "25W", "918000000"), (2, "MAXN_SUPER", "-1")],
                1,
                1,
            )
            .gpu("17000000.gpu", ["306000000", "306000000", "918000000"], "nvhost_podgov")
            .cpu(["729600", "729600", "1344000"])
            .memory(7_802_000, 5_900_000)
            .file(
                "/proc/swaps",
                "Filename Type Size Used Priority\n/dev/zram0 partition 650000 0 5\n\
                 /dev/zram1 partition 650000 0 5\n",
            )
            .zone(0, "cpu-thermal", "47250")
            .zone(1, "gpu-thermal", "46093")
            .alert("gpu-throttle-alert", "0")
    }

    /// An AGX Orin 64 GB developer kit with Jetson Linux of JetPack 6.2.1 and without JetPack's
    /// packages, throttled.
    pub(crate) fn agx_orin() -> Self {
        Board::new()
            .file("/proc/device-tree/model", "NVIDIA Jetson AGX Orin Developer Kit\0")
            .file("/proc/device-tree/compatible", "nvidia,p3737-0000+p3701-0005\0nvidia,tegra234\0")
            .file("/etc/nv_tegra_release", "# R36 (release), REVISION: 4.4, GCID: 41062509\n")
            .power_modes(
                &[(0, "MAXN", "-1"), (1, "MODE_15W", "420750000"), (2, "MODE_30W", "612000000")],
                2,
                2,
            )
            .gpu("17000000.gpu", ["306000000", "306000000", "612000000"], "nvhost_podgov")
            .memory(64_350_000, 60_000_000)
            .alert("gpu-throttle-alert", "1")
            .files("/sys/class/hwmon/hwmon2", &[("name", "soctherm_oc"), ("oc3_event_cnt", "37")])
    }

    /// An AGX Thor developer kit with JetPack 7.2, set for speed.
    pub(crate) fn thor() -> Self {
        let packages = "\
Package: libnvinfer10\nStatus: install ok installed\nVersion: 10.16.2.10-1+cuda13.2\n\n\
Package: nvidia-jetpack\nStatus: install ok installed\nVersion: 7.2-b100\n";
        Board::new()
            .file("/proc/device-tree/model", "NVIDIA Jetson AGX Thor Developer Kit\0")
            .file("/proc/device-tree/compatible", "nvidia,p4071-0000+p3834-0008\0nvidia,tegra264\0")
            .file("/etc/nv_tegra_release", "# R39 (release), REVISION: 2.0, GCID: 45755727\n")
            .file("/var/lib/dpkg/status", packages)
            .power_modes(&[(0, "MAXN", "-1"), (1, "120W", "1386000000")], 1, 0)
            .gpu("gpu-gpc-0", ["1575000000", "1575000000", "1575000000"], "performance")
            .memory(128_790_000, 120_000_000)
            .alert("gpu-throttle-alert", "0")
    }

    /// A PC with a card.
    pub(crate) fn rtx_pc() -> Self {
        Board::new()
            .file("/proc/driver/nvidia/version", "NVRM version: Kernel Module  580.65.06  x\n")
            .file(
                "/proc/driver/nvidia/gpus/0000:01:00.0/information",
                "Model: \t\t NVIDIA GeForce RTX 4090\n",
            )
            .memory(64_000_000, 50_000_000)
    }

    fn power_modes(self, modes: &[(u32, &str, &str)], default_id: u32, id: u32) -> Self {
        let mode = |(id, name, hz): &(u32, &str, &str)| {
            format!(
                "< POWER_MODEL ID={id} NAME={name} >\nCPU_ONLINE CORE_0 1\nGPU MAX_FREQ {hz}\n\n"
            )
        };
        let modes: String = modes.iter().map(mode).collect();
        self.file("/etc/nvpmodel.conf", &format!("{modes}< PM_CONFIG DEFAULT={default_id} >\n"))
            .file("/var/lib/nvpmodel/status", &format!("pmode:{id:04}\n"))
    }

    fn gpu(self, name: &str, [now, min, max]: [&str; 3], governor: &str) -> Self {
        let files = [
            ("cur_freq", now),
            ("min_freq", min),
            ("max_freq", max),
            ("available_frequencies", "306000000 612000000 918000000 1020000000"),
            ("governor", governor),
        ];
        self.files(&format!("/sys/class/devfreq/{name}"), &files)
    }

    fn cpu(self, [now, min, max]: [&str; 3]) -> Self {
        let files = [
            ("related_cpus", "0 1 2 3"),
            ("scaling_cur_freq", now),
            ("scaling_min_freq", min),
            ("scaling_max_freq", max),
            ("scaling_governor", "schedutil"),
        ];
        self.files("/sys/devices/system/cpu/cpufreq/policy0", &files)
    }

    fn memory(self, total_kb: u64, available_kb: u64) -> Self {
        let text = format!("MemTotal: {total_kb} kB\nMemAvailable: {available_kb} kB\n");
        self.file("/proc/meminfo", &text)
    }

    fn zone(self, index: usize, name: &str, millidegrees: &str) -> Self {
        let files = [("type", name), ("temp", millidegrees)];
        self.files(&format!("/sys/class/thermal/thermal_zone{index}"), &files)
    }

    fn alert(self, name: &str, state: &str) -> Self {
        self.files("/sys/class/thermal/cooling_device0", &[("type", name), ("cur_state", state)])
    }
}
