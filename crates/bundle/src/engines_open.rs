//! Opening a folder of engines, and whether this machine can run them.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::engines::{
    ENGINES_FORMAT, ENGINES_FORMAT_VERSION, EngineEntry, EnginesManifest, Pass, TensorrtFacts,
    TensorrtFlavour, WeightsFiles, compute_capability_name,
};
use crate::error::Error;
use crate::hash::hash_reader;
use crate::manifest::FileEntry;
use crate::open::{absent, manifest_text, size_problem};
use crate::{engines_validate, names};

/// A folder of engines whose manifest is consistent and whose files have the sizes it says.
#[derive(Debug, Clone)]
pub struct Engines {
    /// The folder.
    pub path: PathBuf,
    /// Its manifest.
    pub manifest: EnginesManifest,
}

/// A machine that engines are to run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine<'a> {
    /// The TensorRT that is installed.
    pub flavour: TensorrtFlavour,
    /// Its version, all four numbers.
    pub version: &'a str,
    /// The device's compute capability, as `86` for 8.6; none where there is no device.
    pub compute_capability: Option<u32>,
    /// The layout version of the plugin that is installed; none where there is none.
    pub plugin_layout: Option<u32>,
}

impl Engines {
    /// Opens a folder of engines: reads its manifest, checks that it agrees with itself and that
    /// every file is there with its size. Hashes are checked by [`Engines::read`] and
    /// [`Engines::verify`].
    ///
    /// # Errors
    /// [`Error`] names the folder or file, and lists every problem of a kind at once.
    pub fn open(path: &Path) -> Result<Engines, Error> {
        let manifest = Engines::read_manifest(path)?;
        let sizes = manifest.files.iter();
        let problems: Vec<String> = sizes
            .filter_map(|(name, entry)| size_problem(&path.join(name), name, entry.bytes))
            .collect();
        match problems.is_empty() {
            true => Ok(Engines { path: path.to_owned(), manifest }),
            false => Err(Error::Files { path: path.to_owned(), problems }),
        }
    }

    /// Reads and checks the manifest alone.
    ///
    /// # Errors
    /// As [`Engines::open`], without those about other files.
    pub fn read_manifest(path: &Path) -> Result<EnginesManifest, Error> {
        let file = path.join(names::MANIFEST_FILE);
        let text = manifest_text(&file)?.ok_or_else(|| absent(path, Error::NoEngines))?;
        let json = |source| Error::Json { path: file.clone(), source };
        let value: serde_json::Value = serde_json::from_slice(&text).map_err(json)?;
        let format = value.get("format").and_then(|v| v.as_str()).unwrap_or_default();
        let version = value.get("format_version").and_then(|v| v.as_u64()).unwrap_or_default();
        if format != ENGINES_FORMAT || version != u64::from(ENGINES_FORMAT_VERSION) {
            let (path, format) = (file, format.to_owned());
            return Err(Error::EnginesVersion { path, format, version });
        }
        // From the text again, not from `value`, so that messages carry line and column.
        let manifest: EnginesManifest = serde_json::from_slice(&text).map_err(json)?;
        let problems = engines_validate::problems(&manifest);
        match problems.is_empty() {
            true => Ok(manifest),
            false => Err(Error::Inconsistent { path: file, problems }),
        }
    }

    /// The path of one of the folder's files.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The engine of a graph for a pass; `attended` is the rung that the pass needs, and counts
    /// where there is an engine a rung.
    pub fn engine(&self, graph: &str, pass: Pass, attended: usize) -> Option<&EngineEntry> {
        self.manifest.engines.iter().find(|engine| {
            engine.graph == graph
                && engine.pass == pass
                && engine.attended.is_none_or(|rung| rung == attended)
        })
    }

    /// Reads an engine and compares it with its size and SHA-256.
    ///
    /// # Errors
    /// [`Error::Files`] where it was cut, altered, or is none of the folder's; [`Error::Io`].
    pub fn read(&self, engine: &EngineEntry) -> Result<Vec<u8>, Error> {
        let refused = |problem| Error::Files { path: self.path.clone(), problems: vec![problem] };
        let (name, path) = (&engine.file, self.file(&engine.file));
        let entry = self.manifest.files.get(name);
        let entry = entry.ok_or_else(|| refused(format!("`{name}` is not among the files")))?;
        if let Some(problem) = size_problem(&path, name, entry.bytes) {
            return Err(refused(problem));
        }
        let bytes = read_at_most(&path, entry.bytes).map_err(|source| Error::io(&path, source))?;
        let hash = hash_reader(bytes.as_slice(), |_| ()).map_err(|e| Error::io(&path, e))?;
        match content_problem(entry, name, bytes.len() as u64, &hash) {
            None => Ok(bytes),
            Some(problem) => Err(refused(problem)),
        }
    }

    /// Checks size and SHA-256 of every file, weights too. `progress` is given the bytes of each
    /// piece read.
    ///
    /// # Errors
    /// [`Error::Files`] with all that were cut or altered; [`Error::Io`].
    pub fn verify(&self, mut progress: impl FnMut(u64)) -> Result<(), Error> {
        let mut problems = Vec::new();
        for (name, entry) in &self.manifest.files {
            let path = self.file(name);
            let mut bytes = 0;
            let hash = File::open(&path)
                .and_then(|file| {
                    hash_reader(file, |piece| {
                        bytes += piece;
                        progress(piece);
                    })
                })
                .map_err(|source| Error::io(&path, source))?;
            problems.extend(content_problem(entry, name, bytes, &hash));
        }
        match problems.is_empty() {
            true => Ok(()),
            false => Err(Error::Files { path: self.path.clone(), problems }),
        }
    }

    /// Whether a machine can run these engines.
    ///
    /// # Errors
    /// [`Error::OtherMachine`] with every difference.
    pub fn check_machine(&self, machine: &Machine<'_>) -> Result<(), Error> {
        let problems = differences(&self.manifest, machine);
        match problems.is_empty() {
            true => Ok(()),
            false => Err(Error::OtherMachine { path: self.path.clone(), problems }),
        }
    }
}

/// Reads a file, of which no more is taken into memory where it grows meanwhile.
fn read_at_most(path: &Path, most: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let expected = usize::try_from(most).map_err(|_| std::io::ErrorKind::OutOfMemory)?;
    bytes.try_reserve_exact(expected).map_err(|_| std::io::ErrorKind::OutOfMemory)?;
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn content_problem(entry: &FileEntry, name: &str, bytes: u64, hash: &str) -> Option<String> {
    if entry.bytes != bytes {
        let want = entry.bytes;
        return Some(format!("`{name}` has {bytes} bytes, the manifest says {want}"));
    }
    let altered = || format!("`{name}` was altered: its SHA-256 is {hash}, not {}", entry.sha256);
    (entry.sha256 != hash).then(altered)
}

fn differences(manifest: &EnginesManifest, machine: &Machine<'_>) -> Vec<String> {
    let tensorrt = &manifest.tensorrt;
    let mut problems = Vec::new();
    if tensorrt.flavour != machine.flavour {
        problems.push(format!("they are for {}, this is {}", tensorrt.flavour, machine.flavour));
    } else if tensorrt.version != machine.version {
        problems.push(format!(
            "they were built by {} {}, this is {}: build them again with it",
            tensorrt.flavour, tensorrt.version, machine.version
        ));
    }
    problems.extend(device_problem(tensorrt, machine.compute_capability));
    if let Some(plugin) = &manifest.plugin {
        let (name, layout) = (&plugin.name, plugin.layout_version);
        match machine.plugin_layout {
            Some(installed) if installed == layout => {}
            Some(installed) => problems.push(format!(
                "they hold {name} in layout {layout}, the installed plugin reads layout {installed}"
            )),
            None => problems.push(format!("they need the plugin {name}, which is not installed")),
        }
    }
    if manifest.weights_files == WeightsFiles::Absent {
        problems.push("they were built of shapes alone (--shapes-only): no weights".to_owned());
    }
    problems
}

fn device_problem(built_for: &TensorrtFacts, device: Option<u32>) -> Option<String> {
    let Some(device) = device else {
        return Some("there is no NVIDIA device".to_owned());
    };
    let (devices, this) = (built_for.devices(), compute_capability_name(device));
    (!built_for.is_for(device)).then(|| format!("they are for {devices}, this device has {this}"))
}

#[cfg(test)]
pub(crate) mod tests;
