//! Kernels that TensorRT-RTX compiles on the device's machine, kept for later starts.
//!
//! An engine of TensorRT-RTX is no code yet: kernels are compiled when contexts are made and first
//! run. Other flavours compile as they build, and there is nothing to keep.

use cumo_bundle::{EngineEntry, Engines, TensorrtFlavour};
use cumo_tensorrt::{Error, Runtime};

use super::TensorrtOptions;
use super::kernel_file::{KernelFile, KernelFileError};
use super::loaded::LoadedEngine;
use super::toolkit::Toolkit;
use crate::backend::KernelFacts;
use crate::machine::Machine;

/// Where kernels are kept, and which there were.
#[derive(Default)]
pub(super) struct CompiledKernels {
    /// None where nothing is kept.
    file: Option<KernelFile>,
    /// Bytes of those of an earlier start.
    found: Option<u64>,
    /// Whether kernels may have been compiled since they were last kept.
    is_changed: bool,
    /// Whether they were kept once, or that was tried.
    was_kept: bool,
}

impl CompiledKernels {
    /// Gives the runtime the kernels of an earlier start, before its first context is made. What is
    /// wrong with them is a note: they are compiled anew.
    pub(super) fn open(
        engines: &Engines,
        loaded: &[LoadedEngine],
        toolkit: &Toolkit,
        options: &TensorrtOptions,
        notes: &mut Vec<String>,
    ) -> CompiledKernels {
        let is_rtx = engines.manifest.tensorrt.flavour == TensorrtFlavour::Rtx;
        let Some(folder) = options.kernels.as_ref().filter(|_| is_rtx) else {
            return CompiledKernels::default();
        };
        let mut file = KernelFile::new(folder, &key(engines, toolkit));
        let found = file.read().map_err(|error| error.to_string()).and_then(|kernels| {
            let (Some(kernels), Some(first)) = (kernels, loaded.first()) else { return Ok(None) };
            first.engine.load_compiled_kernels(&kernels).map_err(|error| error.to_string())?;
            Ok(Some(kernels.len() as u64))
        });
        let found = found.unwrap_or_else(|why| {
            notes.push(format!(
                "kernels of an earlier start are not used, and compiled anew: {}: {why}",
                file.path().display()
            ));
            None
        });
        CompiledKernels { file: Some(file), found, is_changed: true, was_kept: false }
    }

    /// A context was made, or is going to run with other shapes.
    pub(super) fn change(&mut self) {
        self.is_changed = true;
    }

    /// Whether they were kept once, or that was tried.
    pub(super) fn was_kept(&self) -> bool {
        self.was_kept
    }

    /// Keeps the kernels that the runtime has, unless they are kept.
    ///
    /// # Errors
    /// Why they are not, as a note for the user.
    pub(super) fn keep(&mut self, runtime: &Runtime) -> Result<(), String> {
        let Some(file) = self.file.as_mut().filter(|_| self.is_changed) else { return Ok(()) };
        // Not tried again before something changes.
        (self.is_changed, self.was_kept) = (false, true);
        write(file, runtime).map_err(|why| {
            format!(
                "every start compiles the device's kernels, which takes time: they cannot be kept \
                 in {}: {why}; CUMO_CACHE_DIR names another folder, --no-kernel-cache tries none",
                file.path().display()
            )
        })
    }

    /// What there was at the start; none where nothing is kept.
    pub(super) fn facts(&self) -> Option<KernelFacts> {
        self.file.as_ref()?;
        Some(KernelFacts { found_bytes: self.found })
    }
}

fn write(file: &mut KernelFile, runtime: &Runtime) -> Result<(), String> {
    let kernels = runtime.compiled_kernels().map_err(|error: Error| error.to_string())?;
    let Some(kernels) = kernels else { return Ok(()) };
    file.write(&kernels).map_err(|error: KernelFileError| error.to_string())
}

/// All that kernels depend on: library, device, driver, and the hashes of the engines that were
/// opened.
fn key(engines: &Engines, toolkit: &Toolkit) -> String {
    let (device, library) = (&toolkit.device, &toolkit.library);
    let driver = Machine::this().nvidia_driver().unwrap_or_default();
    let files = &engines.manifest.files;
    let hash = |entry: &EngineEntry| Some(files.get(&entry.file)?.sha256.clone());
    let hashes: Vec<String> = engines.manifest.engines.iter().filter_map(hash).collect();
    let hashes = hashes.join("\n");
    format!(
        "{} {}\n{} {}\n{:?} {driver}\n{hashes}",
        library.flavour(),
        library.version(),
        device.name,
        device.compute_capability,
        device.driver,
    )
}
