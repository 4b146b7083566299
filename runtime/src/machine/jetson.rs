//! The board, JetPack and TensorRT of a Jetson.

use std::collections::BTreeMap;
use std::fs;

use serde::Serialize;

use super::Machine;
use super::packages;
use super::root::Root;

/// A Jetson.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Jetson {
    /// The board's name, for example `NVIDIA Jetson Orin Nano Engineering Reference Developer Kit
    /// Super`.
    pub board: String,
    /// The names of board, module and chip that the device tree gives, most precise first.
    pub compatible: Vec<String>,
    /// The chip, for example `tegra234`.
    pub chip: Option<String>,
    /// Its GPU's compute capability, times ten: 87 for Orin, 110 for Thor.
    pub compute_capability: Option<u32>,
    /// The version of Jetson Linux, for example `36.4.3`.
    pub l4t: Option<String>,
    /// JetPack.
    pub jetpack: Option<JetPack>,
    /// The version of TensorRT, of the packages that are installed.
    pub tensorrt: Option<String>,
    /// Whether a desktop starts with the system, which takes memory.
    pub desktop: bool,
}

/// JetPack's version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JetPack {
    /// For example `6.2`.
    pub version: String,
    /// Whether its package is installed; where it is not, the version is that of Jetson Linux, and
    /// CUDA and TensorRT may be missing.
    pub installed: bool,
}

/// Versions of JetPack by those of Jetson Linux.
const JETPACKS: [(&str, &str); 15] = [
    ("35.4.1", "5.1.2"),
    ("35.5.0", "5.1.3"),
    ("35.6.0", "5.1.4"),
    ("35.6.1", "5.1.5"),
    ("36.3.0", "6.0"),
    ("36.4.0", "6.1"),
    ("36.4.3", "6.2"),
    ("36.4.4", "6.2.1"),
    ("36.4.7", "6.2.1"),
    ("36.5.0", "6.2.2"),
    ("38.2.0", "7.0"),
    ("38.2.1", "7.0"),
    ("38.4.0", "7.1"),
    ("39.2.0", "7.2"),
    ("39.2.1", "7.2.1"),
];

/// Compute capabilities, times ten, by chip.
const CHIPS: [(&str, u32); 4] =
    [("tegra194", 72), ("tegra234", 87), ("tegra239", 88), ("tegra264", 110)];

impl Machine {
    /// The Jetson that this machine is, where it is one.
    pub fn jetson(&self) -> Option<Jetson> {
        let compatible = self.root.text("/proc/device-tree/compatible").unwrap_or_default();
        let compatible: Vec<String> = compatible
            .split('\0')
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty())
            .collect();
        let release = self.root.text("/etc/nv_tegra_release");
        let chip = compatible.iter().find_map(|name| name.strip_prefix("nvidia,tegra"));
        if chip.is_none() && release.is_none() {
            return None;
        }
        let chip = chip.map(|digits| format!("tegra{digits}"));
        let capability = CHIPS.iter().find(|(name, _)| Some(*name) == chip.as_deref());
        let wanted = |name: &str| {
            name.starts_with("nvidia-") || name.starts_with("libnvinfer") || name == "tensorrt"
        };
        let packages = packages::installed(&self.root, wanted);
        let l4t = release.as_deref().and_then(parse_release).or_else(|| l4t_package(&packages));
        Some(Jetson {
            board: self.root.text("/proc/device-tree/model").unwrap_or_else(|| "Jetson".to_owned()),
            jetpack: jetpack(&packages, l4t.as_deref()),
            tensorrt: tensorrt(&packages),
            desktop: starts_desktop(&self.root),
            compute_capability: capability.map(|(_, capability)| *capability),
            compatible,
            chip,
            l4t,
        })
    }
}

/// `# R36 (release), REVISION: 4.3, GCID: ...` as `36.4.3`; a revision without its second number, as
/// `4`, has 0 there.
fn parse_release(text: &str) -> Option<String> {
    let line = text.lines().next()?;
    let release = line.split_once('R')?.1;
    let release: String = release.chars().take_while(char::is_ascii_digit).collect();
    let revision = packages::leading_number(line.split_once("REVISION:")?.1.trim())?;
    let dot = if revision.contains('.') { "" } else { ".0" };
    (!release.is_empty()).then(|| format!("{release}.{revision}{dot}"))
}

fn l4t_package(packages: &BTreeMap<String, String>) -> Option<String> {
    packages::upstream(packages.get("nvidia-l4t-core")?)
}

fn jetpack(packages: &BTreeMap<String, String>, l4t: Option<&str>) -> Option<JetPack> {
    if let Some(version) = packages.get("nvidia-jetpack").and_then(|text| packages::upstream(text))
    {
        return Some(JetPack { version, installed: true });
    }
    let (_, version) = JETPACKS.iter().find(|(known, _)| Some(*known) == l4t)?;
    Some(JetPack { version: (*version).to_owned(), installed: false })
}

/// The version of `libnvinfer10` or its like, without `-dev` and other parts.
fn tensorrt(packages: &BTreeMap<String, String>) -> Option<String> {
    let is_library = |name: &str| {
        let major = name.strip_prefix("libnvinfer");
        major.is_some_and(|digits| digits.parse::<u32>().is_ok())
    };
    let library = packages.iter().rev().find(|(name, _)| is_library(name));
    let version = library.map(|(_, version)| version).or_else(|| packages.get("tensorrt"))?;
    packages::upstream(version)
}

/// Whether `default.target`, a link, is the graphical one.
fn starts_desktop(root: &Root) -> bool {
    let links = ["/etc/systemd/system/default.target", "/lib/systemd/system/default.target"];
    let target = links.iter().find_map(|link| fs::read_link(root.path(link)).ok());
    target.is_some_and(|target| target.ends_with("graphical.target"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::Board;
    use super::*;

    #[test]
    fn board_jetpack_and_tensorrt_are_named() {
        let board = Board::orin_nano();
        let jetson = board.machine().jetson().unwrap();
        assert_eq!(jetson.board, "NVIDIA Jetson Orin Nano Developer Kit Super");
        assert_eq!(jetson.compatible.len(), 3);
        assert_eq!(jetson.chip.as_deref(), Some("tegra234"));
        assert_eq!(jetson.compute_capability, Some(87));
        assert_eq!(jetson.l4t.as_deref(), Some("36.4.3"));
        let jetpack = JetPack { version: "6.2".to_owned(), installed: true };
        assert_eq!(jetson.jetpack, Some(jetpack));
        assert_eq!(jetson.tensorrt.as_deref(), Some("10.3.0.30"));
        assert!(jetson.desktop);
    }

    #[test]
    fn without_its_package_jetpack_is_told_by_jetson_linux() {
        let board = Board::orin_nano().file("/var/lib/dpkg/status", "");
        let jetson = board.machine().jetson().unwrap();
        let jetpack = JetPack { version: "6.2".to_owned(), installed: false };
        assert_eq!((jetson.jetpack, jetson.tensorrt), (Some(jetpack), None));
        let unknown = board.file("/etc/nv_tegra_release", "# R99 (release), REVISION: 1.0\n");
        assert_eq!(unknown.machine().jetson().unwrap().jetpack, None);
    }

    #[test]
    fn a_thor_has_jetpack_7() {
        let board = Board::thor();
        let jetson = board.machine().jetson().unwrap();
        assert_eq!(jetson.compute_capability, Some(110));
        assert_eq!(jetson.jetpack.map(|jetpack| jetpack.version).as_deref(), Some("7.2"));
        assert_eq!(jetson.tensorrt.as_deref(), Some("10.16.2.10"));
        assert!(!jetson.desktop);
    }

    #[test]
    fn a_pc_is_none() {
        assert_eq!(Board::new().machine().jetson(), None);
        assert_eq!(Board::rtx_pc().machine().jetson(), None);
        let pi = Board::new().file("/proc/device-tree/compatible", "raspberrypi,5-model-b\0");
        assert_eq!(pi.machine().jetson(), None);
    }

    #[test]
    fn releases_have_three_numbers() {
        let release = |text: &str| parse_release(text);
        assert_eq!(release("# R39 (release), REVISION: 2.1, GCID: 1").as_deref(), Some("39.2.1"));
        assert_eq!(release("# R38 (release), REVISION: 4, x").as_deref(), Some("38.4.0"));
        assert_eq!(release("# R (release), REVISION: 4.0"), None);
        assert_eq!(release("no release"), None);
    }

    proptest! {
        #[test]
        fn any_release_is_read(text in "(.|\n|R[0-9]|REVISION:){0,60}") {
            parse_release(&text);
        }
    }
}
