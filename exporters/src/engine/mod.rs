//! From a bundle's graphs to TensorRT engines: one a graph and pass, weights as inputs.
//!
//! [`build_engines`] finds the graphs (`source`), plans one `job` an engine, and builds what was not
//! built before of the same inputs (`store`).

mod attempt;
mod contents;
mod error;
mod figures;
mod fixed;
mod job;
mod link;
mod loaded;
mod messages;
mod options;
mod program;
mod progress;
mod source;
mod store;
mod tensorrt;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use cumo_bundle::{
    ENGINES_FORMAT, ENGINES_FORMAT_VERSION, EngineEntry, EngineLimits, Engines, EnginesManifest,
    EnginesWriter, WeightsFiles,
};

pub use error::Error;
pub use loaded::{LoadedEngine, Loader};
pub use messages::{Advice, Finding, Findings};
pub use options::{EngineInput, EngineOptions, Sizes, WeightsPlace};
pub use program::CompiledProgram;
pub use progress::{EngineProgress, Silent};

use crate::export::PRODUCER;
use attempt::Attempt;
use source::Source;
use store::Store;
use tensorrt::Toolkit;

/// What a build of engines did.
#[derive(Debug)]
pub struct EngineSummary {
    /// The folder that was written.
    pub manifest: EnginesManifest,
    /// Wall-clock time.
    pub seconds: f64,
    /// Bytes of all files, links not followed.
    pub bytes: u64,
    /// Engines that were built.
    pub built: usize,
    /// Engines that were there from an earlier build.
    pub reused: usize,
    /// What TensorRT had to say.
    pub findings: Findings,
    /// Whether the engines were built without a device to try them on.
    pub without_device: bool,
}

/// Builds a folder of engines. It is whole afterwards, or as it was before.
///
/// # Errors
/// [`Error`]; it names the option, file, or graph and node.
pub fn build_engines(
    options: &EngineOptions,
    progress: &dyn EngineProgress,
) -> Result<EngineSummary, Error> {
    let exported = source::bundle_beside(&options.output);
    let was_there = exported.exists();
    let summary = build(options, progress);
    if summary.is_err() && !was_there && exported.exists() {
        // A checkpoint's bundle goes with the engines that are not built. Where it cannot be removed
        // it is a whole bundle still.
        drop(std::fs::remove_dir_all(&exported));
    }
    summary
}

fn build(options: &EngineOptions, progress: &dyn EngineProgress) -> Result<EngineSummary, Error> {
    let start = Instant::now();
    let mut writer = EnginesWriter::create(&options.output, options.force)?;
    // What is wrong with the input is told whether TensorRT is there or not, and what is missing
    // before a checkpoint is exported, which takes a while.
    let source = Source::open(options)?;
    let limits = job::limits(&source.manifest, &options.sizes)?;
    let store = Store::open(options.cache.as_deref(), &options.output)?;
    let mut toolkit = Toolkit::open(options)?;
    let source = source.with_weights(options, progress)?;
    if source.needs_plugin() {
        toolkit.load_plugin(options)?;
    }
    let jobs = job::jobs(&source.manifest, &limits)?;
    let mut attempt = Attempt::new(&toolkit, &source, options, store)?;
    let mut engines = Vec::new();
    for (index, job) in jobs.iter().enumerate() {
        progress.engine(&job.name(), index, jobs.len());
        engines.push(attempt.engine(job, &mut writer, progress)?);
    }
    let (built, mut findings) = attempt.finish()?;
    let image_tokens = source.manifest.model.vision.image_tokens;
    if let Some(problem) = job::images_problem(image_tokens, limits.max_context) {
        findings.note(&problem);
    }
    let reused = jobs.len() - built;
    let weights_files = put_weights(&mut writer, &source, options)?;
    let manifest = manifest(&toolkit, source, options, limits, engines, weights_files);
    if progress.interrupted() {
        return Err(Error::Interrupted);
    }
    let bytes = writer.finish(manifest)?;
    let manifest = Engines::read_manifest(&options.output)?;
    let (seconds, without_device) = (start.elapsed().as_secs_f64(), toolkit.device.is_none());
    Ok(EngineSummary { manifest, seconds, bytes, built, reused, findings, without_device })
}

/// Puts the weights' and the tokenizer's files beside the engines.
fn put_weights(
    writer: &mut EnginesWriter,
    source: &Source,
    options: &EngineOptions,
) -> Result<WeightsFiles, Error> {
    let Some(bundle) = &source.bundle else {
        return Ok(match options.constant_weights {
            true => WeightsFiles::Engines,
            false => WeightsFiles::Absent,
        });
    };
    let files = &source.manifest.files;
    if let Some(kind) = source.manifest.model.tokenizer
        && let Some(entry) = files.get(kind.file_name())
    {
        writer.copy(kind.file_name(), &bundle.join(kind.file_name()), entry)?;
    }
    if options.constant_weights {
        return Ok(WeightsFiles::Engines);
    }
    let names: std::collections::BTreeSet<&String> =
        source.manifest.weights.values().map(|weight| &weight.file).collect();
    let entries: Vec<_> = names.into_iter().filter_map(|name| files.get_key_value(name)).collect();
    if options.weights_place == WeightsPlace::Copy {
        let needed = entries.iter().map(|(_, entry)| entry.bytes).fold(0, u64::saturating_add);
        let folder = writer.path("");
        check_space(folder.parent().unwrap_or(&folder), needed)?;
    }
    for (name, entry) in entries {
        let path = bundle.join(name);
        match options.weights_place {
            WeightsPlace::Copy => writer.copy(name, &path, entry)?,
            WeightsPlace::Link => writer.link(name, &real_path(&path)?, entry.clone())?,
        }
    }
    Ok(match options.weights_place {
        WeightsPlace::Copy => WeightsFiles::Copy,
        WeightsPlace::Link => WeightsFiles::Link,
    })
}

/// The file that a path leads to, so that links do not hang on links.
fn real_path(path: &Path) -> Result<std::path::PathBuf, Error> {
    path.canonicalize().map_err(|source| Error::Io { path: path.to_owned(), source })
}

/// Fails where a disk has less free space than `needed` bytes.
fn check_space(folder: &Path, needed: u64) -> Result<(), Error> {
    let Ok(found) = rustix::fs::statvfs(folder) else { return Ok(()) };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    match free < needed {
        true => Err(Error::NoSpace { path: folder.to_owned(), needed, free }),
        false => Ok(()),
    }
}

fn manifest(
    toolkit: &Toolkit,
    source: Source,
    options: &EngineOptions,
    limits: EngineLimits,
    engines: Vec<EngineEntry>,
    weights_files: WeightsFiles,
) -> EnginesManifest {
    EnginesManifest {
        format: ENGINES_FORMAT.to_owned(),
        format_version: ENGINES_FORMAT_VERSION,
        producer: format!("{} {}", PRODUCER.0, PRODUCER.1),
        tensorrt: toolkit.facts(options),
        plugin: toolkit.plugin.clone(),
        limits,
        options: cumo_bundle::EngineOptions {
            workspace_bytes: options.workspace_bytes,
            constant_weights: options.constant_weights,
        },
        weights_files,
        engines,
        bundle: source.manifest,
        files: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_is_too_small_is_named_with_both_numbers() {
        let folder = tempfile::tempdir().unwrap();
        check_space(folder.path(), 1).unwrap();
        let message = check_space(folder.path(), u64::MAX).unwrap_err().to_string();
        assert!(message.contains("no space"), "{message}");
        assert!(
            message.contains(&u64::MAX.to_string()) && message.contains("are free"),
            "{message}"
        );
    }
}
