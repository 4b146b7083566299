//! One build: engine after engine, each taken from an earlier build where it can be.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use cumo_bundle::{EngineEntry, EnginesWriter};
use cumo_tensorrt::{BuildOptions, Builder, EngineBytes, Flavour, Profile, Severity};
use serde_json::json;

use super::contents::contents;
use super::error::Error;
use super::figures::figures;
use super::fixed::fix;
use super::job::Job;
use super::messages::Findings;
use super::options::EngineOptions;
use super::progress::EngineProgress;
use super::source::{Source, hash};
use super::store::{Made, Store, write_whole};
use super::tensorrt::Toolkit;

/// Raised when what is built of the same inputs changes, so that engines of earlier builds are not
/// taken.
const KEY_VERSION: u32 = 2;

/// A build under way.
pub(super) struct Attempt<'a> {
    toolkit: &'a Toolkit,
    source: &'a Source,
    options: &'a EngineOptions,
    store: Store,
    findings: Findings,
    timings: Option<Timings>,
    built: usize,
}

/// Kernel timings, from engine to engine and from build to build.
struct Timings {
    path: PathBuf,
    bytes: Option<Vec<u8>>,
}

impl<'a> Attempt<'a> {
    /// Prepares a build.
    ///
    /// # Errors
    /// [`Error::Io`] where the timings' file is there and cannot be read.
    pub(super) fn new(
        toolkit: &'a Toolkit,
        source: &'a Source,
        options: &'a EngineOptions,
        store: Store,
    ) -> Result<Attempt<'a>, Error> {
        let mut findings = Findings::default();
        let is_rtx = toolkit.library.flavour() == Flavour::Rtx;
        if options.timing_cache.is_some() && is_rtx {
            findings.note("TensorRT-RTX measures no kernels: --timing-cache has no effect");
        }
        let timings = options.timing_cache.as_ref().filter(|_| !is_rtx).map(|path| {
            let bytes = read_timings(path);
            let bytes = bytes.map_err(|source| Error::Io { path: path.clone(), source })?;
            Ok::<_, Error>(Timings { path: path.clone(), bytes })
        });
        let timings = timings.transpose()?;
        Ok(Attempt { toolkit, source, options, store, findings, timings, built: 0 })
    }

    /// Puts an engine into the folder.
    ///
    /// # Errors
    /// [`Error`].
    pub(super) fn engine(
        &mut self,
        job: &Job,
        writer: &mut EnginesWriter,
        progress: &dyn EngineProgress,
    ) -> Result<EngineEntry, Error> {
        let start = Instant::now();
        if progress.interrupted() {
            return Err(Error::Interrupted);
        }
        let key = self.key(job);
        let (made, bytes, reused) = match self.store.find(&key) {
            Some((bytes, made)) => {
                self.put(job, writer, &key, &bytes, &made)?;
                (made, bytes.len(), true)
            }
            None => {
                let (engine, made) = self.build(job, progress)?;
                let bytes = engine.as_slice();
                self.put(job, writer, &key, bytes, &made)?;
                self.built += 1;
                (made, bytes.len(), false)
            }
        };
        progress.end(&job.name(), bytes, start.elapsed().as_secs_f64(), reused);
        Ok(EngineEntry {
            file: job.file(),
            graph: job.graph.clone(),
            pass: job.pass,
            attended: job.attended,
            profile: job.profile.clone(),
            key,
            contents: made.contents,
            figures: made.figures,
        })
    }

    /// Writes an engine's file, and keeps it for later builds.
    ///
    /// # Errors
    /// [`Error`].
    fn put(
        &self,
        job: &Job,
        writer: &mut EnginesWriter,
        key: &str,
        bytes: &[u8],
        made: &Made,
    ) -> Result<(), Error> {
        let entry = writer.write_bytes(&job.file(), bytes)?;
        self.store.keep(key, bytes, &entry, made)
    }

    /// The hash of all that an engine is built of.
    fn key(&self, job: &Job) -> String {
        let files = &self.source.manifest.files;
        let graph = self.source.graphs.get(&job.graph).map(|bytes| hash(bytes));
        // Constants are in files beside the graph; else only their shapes count, which it has.
        let constants: Vec<_> = match self.options.constant_weights {
            true => files.iter().filter(|(name, _)| name.ends_with(".safetensors")).collect(),
            false => Vec::new(),
        };
        let inputs = json!({
            "key_version": KEY_VERSION,
            "graph": graph,
            "constants": constants,
            "profile": job.profile,
            "fixed": job.fixed,
            "caches": job.caches,
            "tensorrt": self.toolkit.facts(self.options),
            "plugin": self.toolkit.plugin,
            "workspace_bytes": self.options.workspace_bytes,
        });
        hash(inputs.to_string().as_bytes())
    }

    fn build(
        &mut self,
        job: &Job,
        progress: &dyn EngineProgress,
    ) -> Result<(EngineBytes, Made), Error> {
        let start = Instant::now();
        let refused = |cause| match cause {
            cumo_tensorrt::Error::Cancelled => Error::Interrupted,
            cause => Error::Build {
                engine: job.name(),
                graph: job.graph.clone(),
                part: job.part.clone(),
                cause: Box::new(cause),
            },
        };
        let model = self.source.graphs.get(&job.graph).map(Vec::as_slice).unwrap_or_default();
        let size = |value: &str, symbol: &str| job.fixed_size(value, symbol);
        let model = fix(model, &size).map_err(|error| {
            let reason = format!("not an ONNX model ({error})");
            refused(cumo_tensorrt::Error::Parse { reason, errors: Vec::new() })
        })?;
        let path = self.source.path(&job.graph);
        let builder = Builder::new(&self.toolkit.library).messages(Severity::Info);
        let mut network = builder.parse(&model, path.as_deref()).map_err(refused)?;
        let contents = contents(&network).map_err(refused)?;
        let options = self.build_options(job);
        let mut report = |phase: cumo_tensorrt::Progress<'_>| {
            progress.phase(phase);
            match progress.interrupted() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        let built = network.build_reporting(&options, &mut report).map_err(refused)?;
        for message in &built.messages {
            self.findings.add(&job.name(), message);
        }
        if let (Some(timings), Some(new)) = (&mut self.timings, &built.timing_cache) {
            timings.bytes = Some(new.as_slice().to_vec());
        }
        let figures = figures(&built.messages, start.elapsed());
        Ok((built.engine, Made { contents, figures }))
    }

    fn build_options(&self, job: &Job) -> BuildOptions {
        let shape = |sizes: &[usize]| -> Vec<i64> {
            sizes.iter().map(|size| i64::try_from(*size).unwrap_or(i64::MAX)).collect()
        };
        let profile = job.profile.iter().fold(Profile::new(), |profile, (input, range)| {
            profile.range(input, &shape(&range.min), &shape(&range.opt), &shape(&range.max))
        });
        let devices: Vec<i32> =
            self.options.devices.iter().filter_map(|it| i32::try_from(*it).ok()).collect();
        let mut options = BuildOptions::new().compute_capabilities(&devices);
        if !job.profile.is_empty() {
            options = options.profile(profile);
        }
        if let Some(bytes) = self.options.workspace_bytes {
            options = options.workspace_bytes(bytes);
        }
        if let Some(bytes) = self.timings.as_ref().and_then(|timings| timings.bytes.clone()) {
            options = options.timing_cache(bytes);
        }
        options
    }

    /// Writes the timings; gives the number of engines that were built, and what TensorRT said.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn finish(self) -> Result<(usize, Findings), Error> {
        if let Some(Timings { path, bytes: Some(bytes) }) = &self.timings {
            write_whole(path, bytes)?;
        }
        Ok((self.built, self.findings))
    }
}

/// The most bytes of timings that are read.
const MOST_TIMINGS: u64 = 1 << 30;

/// Timings of an earlier build; none where there is no such file. Something else than a file, or one
/// that no build has written, is not read.
fn read_timings(path: &std::path::Path) -> std::io::Result<Option<Vec<u8>>> {
    use std::io::{Error, ErrorKind};
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if !metadata.is_file() || metadata.len() > MOST_TIMINGS {
        return Err(Error::new(ErrorKind::InvalidInput, "not a file of kernel timings"));
    }
    std::fs::read(path).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timings_are_read_of_files_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("timings");
        assert_eq!(read_timings(&file).unwrap(), None);
        std::fs::write(&file, b"cache").unwrap();
        assert_eq!(read_timings(&file).unwrap().as_deref(), Some(&b"cache"[..]));
        for other in [folder.path(), std::path::Path::new("/dev/zero")] {
            let error = read_timings(other).unwrap_err().to_string();
            assert!(error.contains("not a file"), "{error}");
        }
    }
}
