//! `cumo doctor` on made-up boards: files below a folder.

use std::fs;
use std::path::Path;
use std::process::Command;

/// An Orin Nano Super with JetPack 6.2, in its default power mode.
const ORIN_NANO: [(&str, &str); 14] = [
    ("proc/device-tree/model", "NVIDIA Jetson Orin Nano Developer Kit Super\0"),
    ("proc/device-tree/compatible", "nvidia,p3767-0005\0nvidia,tegra234\0"),
    ("etc/nv_tegra_release", "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n"),
    (
        "var/lib/dpkg/status",
        "Package: libnvinfer10\nStatus: install ok installed\nVersion: 10.3.0.30-1+cuda12.5\n\n\
         Package: nvidia-jetpack\nStatus: install ok installed\nVersion: 6.2+b77\n",
    ),
    (
        "etc/nvpmodel.conf",
        "< POWER_MODEL ID=1 NAME=25W >\nGPU MAX_FREQ 918000000\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\nGPU MAX_FREQ -1\n",
    ),
    ("var/lib/nvpmodel/status", "pmode:0001\n"),
    ("sys/class/devfreq/17000000.gpu/cur_freq", "306000000\n"),
    ("sys/class/devfreq/17000000.gpu/min_freq", "306000000\n"),
    ("sys/class/devfreq/17000000.gpu/max_freq", "918000000\n"),
    ("sys/class/devfreq/17000000.gpu/available_frequencies", "306000000 1020000000\n"),
    ("sys/class/thermal/thermal_zone0/type", "gpu-thermal\n"),
    ("sys/class/thermal/thermal_zone0/temp", "46093\n"),
    ("proc/meminfo", "MemTotal: 7802000 kB\nMemAvailable: 5900000 kB\n"),
    ("proc/swaps", "Filename Type Size Used Priority\n/dev/zram0 partition 3900000 0 5\n"),
];

fn lay_out(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

fn doctor(root: &Path, options: &[&str]) -> String {
    let mut cumo = Command::new(env!("CARGO_BIN_EXE_cumo"));
    let output = cumo.arg("doctor").arg("--root").arg(root).args(options).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_jetson_is_named_with_its_state_and_what_to_change() {
    let root = lay_out(&ORIN_NANO);
    let text = doctor(root.path(), &[]);
    for line in [
        "board         NVIDIA Jetson Orin Nano Developer Kit Super (tegra234, compute capability 8.7)",
        "JetPack       6.2 (Jetson Linux 36.4.3)",
        "TensorRT      10.3.0.30",
        "power mode    25W (1) of 1 25W, 2 MAXN_SUPER",
        "GPU clock     306 MHz now, 306 MHz to 918 MHz of 1020 MHz (17000000.gpu)",
        "jetson_clocks off",
        "temperatures  gpu 46.1 C",
        "swap          3.7 GiB in compressed memory (zram)",
        "for speed: the power mode is 25W, MAXN_SUPER is faster",
        "  sudo nvpmodel -m 2",
        "  sudo jetson_clocks",
        "  sudo systemctl disable --now nvzramconfig",
    ] {
        assert!(text.lines().any(|found| found == line), "`{line}` is not in\n{text}");
    }
    assert!(text.contains("memory        5.6 GiB of 7.4 GiB available"), "{text}");
}

#[test]
fn json_has_the_same() {
    let root = lay_out(&ORIN_NANO);
    let report: serde_json::Value =
        serde_json::from_str(&doctor(root.path(), &["--json"])).unwrap();
    assert_eq!(report["jetson"]["jetpack"]["version"], "6.2");
    assert_eq!(report["jetson"]["tensorrt"], "10.3.0.30");
    assert_eq!(report["power_mode"]["name"], "25W");
    assert_eq!(report["jetson_clocks"], false);
    assert_eq!(report["state"]["gpu_clocks"][0]["current_hz"], 306_000_000);
    assert_eq!(report["state"]["temperatures"][0]["celsius"], 46.093);
    assert_eq!(report["swaps"][0]["kind"], "zram");
    assert_eq!(report["advice"][0]["command"], "sudo nvpmodel -m 2");
}

#[test]
fn a_pc_has_a_card_or_none_and_nothing_of_a_jetson() {
    let card = lay_out(&[
        ("proc/driver/nvidia/version", "NVRM version: Kernel Module  580.65.06  x\n"),
        ("proc/driver/nvidia/gpus/0000:01:00.0/information", "Model: \t NVIDIA GeForce RTX 4090\n"),
    ]);
    let text = doctor(card.path(), &[]);
    assert!(text.contains("NVIDIA driver 580.65.06\nNVIDIA cards  NVIDIA GeForce RTX 4090\n"));
    assert!(!text.contains("board ") && !text.contains("for speed"), "{text}");
    let text = doctor(lay_out(&[]).path(), &[]);
    assert!(text.contains("NVIDIA driver none\n") && !text.contains("NVIDIA cards"), "{text}");
}

#[test]
fn files_that_are_not_what_they_should_be_are_not_known() {
    let long = "x".repeat(100_000);
    let broken: Vec<(&str, &str)> =
        ORIN_NANO.iter().map(|(path, _)| (*path, long.as_str())).collect();
    let text = doctor(lay_out(&broken).path(), &[]);
    assert!(text.contains("memory        unknown"), "{text}");
    let folders: Vec<(String, &str)> =
        ORIN_NANO.iter().map(|(path, _)| (format!("{path}/folder"), "")).collect();
    let folders: Vec<(&str, &str)> = folders.iter().map(|(p, t)| (p.as_str(), *t)).collect();
    assert!(doctor(lay_out(&folders).path(), &[]).contains("memory        unknown"));
}

/// ONNX Runtime's telemetry writes there, unless it is switched off before it begins.
#[cfg(feature = "ort")]
#[test]
fn looking_for_libraries_leaves_no_files_in_the_home_and_temporary_folders() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_cumo"));
    // With these set the library has none by itself.
    for variable in ["ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS", "CI", "GITHUB_ACTIONS"] {
        command.env_remove(variable);
    }
    for variable in ["HOME", "TMPDIR", "XDG_CACHE_HOME"] {
        command.env(variable, folder.path());
    }
    let output = command.args(["doctor", "--json"]).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["onnxruntime"].is_object(), "{report}");
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}
