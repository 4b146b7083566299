//! The flavours of TensorRT, and where their libraries may be.

use std::env;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use cumo_shared_object::path_variable;

/// A TensorRT with an ABI of its own: its own shim, its own engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Flavour {
    /// TensorRT-RTX 1.x: builds on the CPU, for RTX cards.
    Rtx,
    /// TensorRT 11: data-centre cards and RTX.
    V11,
    /// TensorRT 10: Jetson among others.
    V10,
}

impl Flavour {
    /// All of them, the newest first.
    pub const ALL: [Flavour; 3] = [Flavour::Rtx, Flavour::V11, Flavour::V10];

    /// `rtx`, `11` or `10`: as in file names and manifests.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Flavour::Rtx => "rtx",
            Flavour::V11 => "11",
            Flavour::V10 => "10",
        }
    }

    /// The flavour of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|flavour| flavour.name() == name)
    }

    /// Whether it builds engines on a machine without a GPU.
    #[must_use]
    pub fn builds_without_device(self) -> bool {
        self == Flavour::Rtx
    }

    /// The file name of its shim.
    #[must_use]
    pub fn shim_name(self) -> String {
        format!("libcumo_trt_{}.so", self.name())
    }

    /// The file names of TensorRT's libraries: the one that is loaded first, the lean runtime where
    /// there is one, and the parser, which builders load.
    pub(crate) fn library_names(self) -> &'static [&'static str] {
        match self {
            Flavour::Rtx => &["libtensorrt_rtx.so.1", "libtensorrt_onnxparser_rtx.so.1"],
            Flavour::V11 => &["libnvinfer.so.11", "libnvinfer_lean.so.11", "libnvonnxparser.so.11"],
            Flavour::V10 => &["libnvinfer.so.10", "libnvinfer_lean.so.10", "libnvonnxparser.so.10"],
        }
    }

    /// Folders below `target/native` that `cargo xtask setup --tensorrt` may have filled.
    fn fetched(self) -> &'static str {
        match self {
            Flavour::Rtx => "tensorrt-rtx",
            Flavour::V11 => "tensorrt-lean-11",
            Flavour::V10 => "tensorrt-lean-10",
        }
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `places` from the running program's folder. Programs in `target/release` and tests in
/// `target/debug/deps` reach `target`.
fn beside_program(places: &[PathBuf]) -> Vec<PathBuf> {
    let Ok(program) = env::current_exe() else { return Vec::new() };
    let Some(folder) = program.parent() else { return Vec::new() };
    places.iter().map(|place| above(folder, place)).collect()
}

/// A place from a folder without links in it, its `..` taken off, so that messages are short.
fn above(folder: &Path, place: &Path) -> PathBuf {
    let mut path = folder.to_owned();
    for component in place.components() {
        match component {
            Component::ParentDir => _ = path.pop(),
            other => path.push(other),
        }
    }
    path
}

/// Where `native/build.sh` and packages install, whatever folder the program runs from.
const INSTALLED: [&str; 2] = ["/usr/local/lib/cumo-edge", "/usr/lib/cumo-edge"];

/// Files in their order, each once.
fn distinct(files: impl Iterator<Item = PathBuf>) -> Vec<PathBuf> {
    let mut distinct = Vec::new();
    for file in files {
        if !distinct.contains(&file) {
            distinct.push(file);
        }
    }
    distinct
}

/// Files that may be the shim, in order. Only `named` counts where it is set.
pub(crate) fn shims(flavour: Flavour, named: Option<&Path>) -> Vec<PathBuf> {
    let name = flavour.shim_name();
    let variable = path_variable("CUMO_TRT_SHIM");
    if let Some(folder) = named.map(Path::to_owned).or(variable) {
        return vec![folder.join(name)];
    }
    let places = [
        "",
        "../lib",
        "../lib/cumo-edge",
        "../local/lib/cumo-edge",
        "../native-build/shim",
        "../../native-build/shim",
    ];
    let beside = beside_program(&places.map(PathBuf::from)).into_iter();
    let folders = beside.chain(INSTALLED.map(PathBuf::from));
    // The bare name last: the system's loader knows where.
    let files = folders.map(|folder| folder.join(&name)).chain([PathBuf::from(&name)]);
    distinct(files)
}

/// Files that may be the plugins for a flavour, in order. Only `named` counts where it is set; a
/// shim that is named has its plugins beside it, as both are built together.
pub(crate) fn plugins(flavour: Flavour, named: Option<&Path>) -> Vec<PathBuf> {
    let variable = path_variable("CUMO_TRT_PLUGIN");
    if let Some(file) = named.map(Path::to_owned).or(variable) {
        return vec![file];
    }
    let places = [
        "../lib/cumo-edge",
        "../local/lib/cumo-edge",
        "../native-build/plugin",
        "../../native-build/plugin",
    ];
    let beside_shim = path_variable("CUMO_TRT_SHIM").map(|shim| shim.join("../plugin"));
    let beside_program = beside_program(&places.map(PathBuf::from));
    let installed = INSTALLED.map(PathBuf::from);
    let folders = beside_shim.into_iter().chain(beside_program).chain(installed);
    distinct(folders.map(|folder| folder.join(flavour.name()).join("libcumo_plugin.so")))
}

/// Folders that may hold TensorRT, in order; none: where the system's loader looks. Only `named`
/// counts where it is set.
pub(crate) fn libraries(flavour: Flavour, named: Option<&Path>) -> Vec<Option<PathBuf>> {
    let variable = path_variable("CUMO_TRT_LIBRARY");
    if let Some(folder) = named.map(Path::to_owned).or(variable) {
        return vec![Some(folder)];
    }
    let fetched = flavour.fetched();
    let places = ["../native", "../../native"].map(|place| Path::new(place).join(fetched));
    let fetched = beside_program(&places).into_iter().filter(|folder| folder.is_dir()).map(Some);
    std::iter::once(None).chain(fetched).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_files() {
        for flavour in Flavour::ALL {
            assert_eq!(Flavour::from_name(flavour.name()), Some(flavour));
        }
        assert_eq!(Flavour::V10.shim_name(), "libcumo_trt_10.so");
        assert_eq!(Flavour::from_name("9"), None);
    }

    #[test]
    fn a_program_anywhere_finds_what_is_installed() {
        if path_variable("CUMO_TRT_SHIM").is_none() {
            let shims = shims(Flavour::V10, None);
            for folder in INSTALLED {
                assert!(shims.contains(&Path::new(folder).join("libcumo_trt_10.so")), "{shims:?}");
            }
            assert_eq!(shims.last().unwrap(), Path::new("libcumo_trt_10.so"));
        }
        if path_variable("CUMO_TRT_PLUGIN").is_none() {
            let plugin = Path::new("/usr/local/lib/cumo-edge/10/libcumo_plugin.so");
            assert!(plugins(Flavour::V10, None).contains(&plugin.to_owned()));
        }
    }

    #[test]
    fn places_are_told_without_steps_up() {
        let folder = Path::new("/srv/u/repo/target/release");
        let place = |place| above(folder, Path::new(place));
        assert_eq!(place("../lib/cumo-edge"), Path::new("/srv/u/repo/target/lib/cumo-edge"));
        assert_eq!(place(""), folder);
        assert_eq!(above(Path::new("/bin"), Path::new("../../lib")), Path::new("/lib"));
    }

    #[test]
    fn a_named_folder_is_the_only_one() {
        let named = Path::new("/opt/somewhere");
        assert_eq!(shims(Flavour::Rtx, Some(named)), [named.join("libcumo_trt_rtx.so")]);
        assert_eq!(libraries(Flavour::Rtx, Some(named)), [Some(named.to_owned())]);
        assert_eq!(plugins(Flavour::Rtx, Some(named)), [named]);
    }
}
