//! The folder that is given as TensorRT's: what the stand-in reads from it and writes into it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::settings::Settings;

pub(crate) const SETTINGS_FILE: &str = "stand-in.json";
pub(crate) const VIOLATIONS_FILE: &str = "violations.txt";
pub(crate) const TRACE_FILE: &str = "trace.txt";
pub(crate) const SUMMARY_FILE: &str = "summary.json";
/// The library as cargo calls it.
pub(crate) const BUILT_FILE: &str = "libcumo_standin.so";
/// The library as it is found.
pub(crate) const LIBRARY_FILE: &str = "libcumo_trt_rtx.so";
pub(crate) const PLUGIN_FILE: &str = "libcumo_plugin.so";

/// What a plugin's file begins with for the stand-in, which takes no code from it, unless it is the
/// stand-in itself, which tells the layout as a plugin does.
pub(crate) const PLUGIN_TEXT: &str = "cumo stand-in plugin\n";

/// A folder with a stand-in: the library under the name of a shim, its settings, and what it wrote
/// down. Programs are led there by the variables `CUMO_TRT_SHIM`, `CUMO_TRT_LIBRARY` and
/// `CUMO_TRT_PLUGIN`, or by `LibraryPlaces`.
#[derive(Debug, Clone)]
pub struct StandIn {
    folder: PathBuf,
}

/// What a stand-in counted, until the last of its runtimes was freed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SummaryOfRun {
    /// What a device would not have forgiven.
    pub violations: u64,
    /// Calls that need the device.
    pub calls: u64,
    /// Allocations: of buffers, pinned memory, engines, contexts and graphs.
    pub allocations: u64,
    /// Executions of engines, those of graphs among them.
    pub executions: u64,
    /// Kernels that were compiled: for an engine and shapes of which no earlier process had kept
    /// them.
    pub compilations: u64,
    /// Captured graphs.
    pub captures: u64,
    /// Launches of graphs.
    pub launches: u64,
    /// Writes of rows into a cache by a kernel, those of graphs among them.
    pub row_writes: u64,
    /// Times that the host waited for a stream or an event.
    pub waits: u64,
    /// Bytes copied from the host to the device.
    pub bytes_to_device: u64,
    /// Bytes copied from the device to the host.
    pub bytes_to_host: u64,
    /// Bytes copied on the device.
    pub bytes_on_device: u64,
    /// The most device memory that was in use at once, in bytes.
    pub peak_bytes: u64,
}

impl StandIn {
    /// Fills a folder that exists. The library must have been built: it is, where a crate depends
    /// on this one.
    ///
    /// # Errors
    /// The folder cannot be written, or the library is not where cargo puts it.
    pub fn create(folder: &Path, settings: &Settings) -> io::Result<StandIn> {
        let stand_in = StandIn::without_library(folder, settings)?;
        fs::remove_file(stand_in.plugin())?;
        for name in [LIBRARY_FILE, PLUGIN_FILE] {
            std::os::unix::fs::symlink(library()?, stand_in.folder.join(name))?;
        }
        Ok(stand_in)
    }

    /// Fills a folder with all but the library.
    pub(crate) fn without_library(folder: &Path, settings: &Settings) -> io::Result<StandIn> {
        let stand_in = StandIn { folder: folder.canonicalize()? };
        fs::write(stand_in.plugin(), PLUGIN_TEXT)?;
        stand_in.set(settings)?;
        Ok(stand_in)
    }

    /// Changes the settings, for libraries that are opened from now on.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn set(&self, settings: &Settings) -> io::Result<()> {
        fs::write(self.folder.join(SETTINGS_FILE), serde_json::to_string_pretty(settings)?)
    }

    /// The folder: of the shim, and of TensorRT's library.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The plugin's file.
    #[must_use]
    pub fn plugin(&self) -> PathBuf {
        self.folder.join(PLUGIN_FILE)
    }

    /// The variables that lead a program here, with what it keeps of compiled kernels.
    #[must_use]
    pub fn variables(&self) -> [(&'static str, PathBuf); 4] {
        [
            ("CUMO_CACHE_DIR", self.folder.join("kernels")),
            ("CUMO_TRT_SHIM", self.folder.clone()),
            ("CUMO_TRT_LIBRARY", self.folder.clone()),
            ("CUMO_TRT_PLUGIN", self.plugin()),
        ]
    }

    /// Violations so far, by all programs that used the folder.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.lines(VIOLATIONS_FILE)
    }

    /// The trace so far, where the settings ask for it.
    #[must_use]
    pub fn trace(&self) -> Vec<String> {
        self.lines(TRACE_FILE)
    }

    /// The summary of the last program that freed its runtime, if there was one.
    #[must_use]
    pub fn summary(&self) -> Option<SummaryOfRun> {
        let text = fs::read(self.folder.join(SUMMARY_FILE)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Forgets violations, trace and summary.
    pub fn forget(&self) {
        for file in [VIOLATIONS_FILE, TRACE_FILE, SUMMARY_FILE] {
            // It may not be there.
            drop(fs::remove_file(self.folder.join(file)));
        }
    }

    fn lines(&self, file: &str) -> Vec<String> {
        let text = fs::read_to_string(self.folder.join(file)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

/// Reads a folder's settings; without a file, the defaults.
pub(crate) fn settings(folder: &Path) -> Result<Settings, String> {
    let path = folder.join(SETTINGS_FILE);
    match fs::read(&path) {
        Ok(text) => {
            serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))
        }
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// The library, where cargo puts it: `target/debug`, or `target/debug/deps` where only tests of
/// this crate were built. Tests run in `deps`, programs in `debug`.
fn library() -> io::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let folders = program.ancestors().skip(1).take(2);
    let places =
        folders.flat_map(|folder| [folder.join(BUILT_FILE), folder.join("deps").join(BUILT_FILE)]);
    let newest = places.filter_map(|file| {
        let made = fs::metadata(&file).and_then(|metadata| metadata.modified()).ok()?;
        Some((made, file))
    });
    newest.max().map(|(_, file)| file).ok_or_else(|| {
        let text = format!("libcumo_standin.so was not built beside {}", program.display());
        io::Error::new(io::ErrorKind::NotFound, text)
    })
}
