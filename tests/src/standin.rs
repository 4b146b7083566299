//! Engines on a machine without a GPU: goldens built and run by the stand-in for the shim.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use cumo_bundle::Target;
use cumo_export::engine::{EngineInput, EngineOptions, Silent, Sizes, WeightsPlace, build_engines};
use cumo_export::{FloatType, MoeKind};
use cumo_standin::{Settings, StandIn};
use cumo_tensorrt::{Flavour, LibraryPlaces};

use crate::exported::Exported;
use crate::golden::Golden;

/// A stand-in in a folder of its own, and where it is to be looked for. What it writes down is of
/// the programs and tests that are given this folder, and of no other.
pub fn stand_in(settings: &Settings) -> (StandIn, LibraryPlaces, tempfile::TempDir) {
    if cfg!(not(debug_assertions)) {
        panic!("a build without debug assertions does not load the stand-in");
    }
    let folder = tempfile::tempdir().unwrap();
    let stand_in = StandIn::create(folder.path(), settings).unwrap();
    let place = Some(stand_in.folder().to_owned());
    let places = LibraryPlaces { shim: place.clone(), tensorrt: place };
    (stand_in, places, folder)
}

/// A golden's engines for the stand-in, beside the bundle that they were built of.
pub struct EngineFolder {
    exported: Exported,
    folder: tempfile::TempDir,
}

/// What folders are told apart by: the golden, whether the graphs have plugin nodes, the sizes.
type Key = (String, bool, [Option<usize>; 4]);

/// Folders that tests of this process have at the moment.
static FOLDERS: Mutex<BTreeMap<Key, Weak<EngineFolder>>> = Mutex::new(BTreeMap::new());

impl EngineFolder {
    /// Builds a golden's engines, or gives those that another test of this process has: who writes
    /// into the folder copies it.
    pub fn of(golden: &Golden, moe: MoeKind, sizes: Sizes) -> Arc<EngineFolder> {
        let Sizes { max_images, batch, max_prompt, max_context } = sizes;
        let numbers = [max_images, batch, max_prompt, max_context];
        let key = (golden.name.clone(), moe == MoeKind::Plugin, numbers);
        // Held while it is built, so that nobody builds it twice.
        let mut folders = FOLDERS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = folders.get(&key).and_then(Weak::upgrade) {
            return folder;
        }
        let folder = Arc::new(EngineFolder::build(golden, moe, sizes, false));
        folders.insert(key, Arc::downgrade(&folder));
        folder
    }

    /// Builds a golden's engines with the weights in them, one a phase and pass.
    pub fn with_constants(golden: &Golden, sizes: Sizes) -> EngineFolder {
        // Joined graphs have no twins that the stand-in could run.
        EngineFolder::build(golden, MoeKind::Function, sizes, true)
    }

    fn build(golden: &Golden, moe: MoeKind, sizes: Sizes, constant_weights: bool) -> EngineFolder {
        let exported = Exported::new(golden, Target::Tensorrt, FloatType::F16, Some(moe));
        let folder = tempfile::tempdir().unwrap();
        let (stand_in, libraries, _own) = stand_in(&Settings::default());
        let options = EngineOptions {
            input: EngineInput::Bundle(exported.path()),
            output: folder.path().join("engines"),
            target: Target::Tensorrt,
            flavour: Some(Flavour::Rtx),
            libraries,
            sizes,
            workspace_bytes: None,
            timing_cache: None,
            devices: Vec::new(),
            constant_weights,
            constant_layers: None,
            moe: None,
            plugin: Some(stand_in.plugin()),
            weights_place: WeightsPlace::Link,
            cache: None,
            force: false,
        };
        build_engines(&options, &Silent).unwrap();
        assert_eq!(stand_in.violations(), [""; 0]);
        EngineFolder { exported, folder }
    }

    /// The folder of engines.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("engines")
    }

    /// The bundle that they were built of.
    pub fn bundle(&self) -> PathBuf {
        self.exported.path()
    }

    /// Copies the engines' folder, whose links to weights stay links, so that it can be changed.
    pub fn copy_to(&self, folder: &Path) {
        std::fs::create_dir_all(folder).unwrap();
        for entry in std::fs::read_dir(self.path()).unwrap() {
            let entry = entry.unwrap();
            let to = folder.join(entry.file_name());
            match entry.file_type().unwrap().is_symlink() {
                true => {
                    let target = std::fs::read_link(entry.path()).unwrap();
                    std::os::unix::fs::symlink(target, to).unwrap();
                }
                false => drop(std::fs::copy(entry.path(), to).unwrap()),
            }
        }
    }
}
