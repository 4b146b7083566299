//! Finding and loading ONNX Runtime's shared library.

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ::ort::LoadDynamicError;
use ::ort::environment::{Environment, GlobalThreadPoolOptions};
use ::ort::logging::LogLevel;
use cumo_shared_object::path_variable;

use crate::backend::BackendError;
use crate::machine::physical_cores;

/// The environment variable that names the library.
const PATH_VARIABLE: &str = "ORT_DYLIB_PATH";

/// The library that was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LibraryInfo {
    /// Its file, or a bare name where the system's loader found it.
    pub path: PathBuf,
    /// Its version, for example `1.32.0`; empty where the library does not say.
    pub version: String,
}

impl LibraryInfo {
    /// Whether the library is known to be of this version 1 or a later one.
    pub(super) fn is_at_least(&self, minor: u32) -> bool {
        let mut numbers = self.version.split('.').map(|number| number.parse::<u32>().ok());
        match (numbers.next().flatten(), numbers.next().flatten()) {
            (Some(1), Some(found)) => found >= minor,
            (Some(major), _) => major > 1,
            (None, _) => false,
        }
    }
}

/// The one environment that a process may have.
static LOADED: Mutex<Option<Loaded>> = Mutex::new(None);

/// An environment and what it was made of.
pub(super) struct Loaded {
    pub(super) environment: Environment,
    pub(super) library: LibraryInfo,
    /// Threads of the pool that the sessions share. Sessions with pools of their own would get in
    /// each other's way: idle threads look for work for a while before they sleep.
    pub(super) threads: usize,
}

/// Loads ONNX Runtime and says what was loaded. Looks at `ORT_DYLIB_PATH`; where that is not set,
/// beside the program, in `../lib`, `../lib/cumo-edge`, `../local/lib/cumo-edge` and
/// `../native/onnxruntime` from there, and where the system's loader looks.
///
/// The library's telemetry is switched off as soon as its API can be told so. Releases since 1.29
/// have by then written files, unless `ORT_DISABLE_TELEMETRY=1` is set, as `cumo` does.
///
/// # Errors
/// [`BackendError::MissingLibrary`], [`BackendError::Library`].
pub fn find_library() -> Result<LibraryInfo, BackendError> {
    load()
}

pub(super) fn load() -> Result<LibraryInfo, BackendError> {
    with_environment(physical_cores(), |loaded| Ok(loaded.library.clone()))
}

/// Calls `action` with the process's environment. The first call makes it, with a pool of
/// `threads`.
pub(super) fn with_environment<T>(
    threads: usize,
    action: impl FnOnce(&Loaded) -> Result<T, BackendError>,
) -> Result<T, BackendError> {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if loaded.is_none() {
        let named = path_variable(PATH_VARIABLE);
        let candidates = candidates(named.clone());
        *loaded = Some(load_first(&candidates, named.is_some(), threads)?);
    }
    match loaded.as_ref() {
        Some(loaded) => action(loaded),
        None => Err(BackendError::MissingLibrary { named: false, tried: Vec::new() }),
    }
}

fn load_first(candidates: &[PathBuf], named: bool, threads: usize) -> Result<Loaded, BackendError> {
    let mut tried = Vec::new();
    for path in candidates {
        // The loader would wait for a pipe, and be ended by a file that is cut off.
        if let Err(fault) = cumo_shared_object::check(path) {
            let is_there = path.symlink_metadata().is_ok();
            let why = if is_there { fault.to_string() } else { "no such file".to_owned() };
            tried.push((path.clone(), why));
            continue;
        }
        match ::ort::init_from(path) {
            Ok(builder) => {
                let failed = |error: ::ort::Error| BackendError::Library {
                    library: path.clone(),
                    reason: error.to_string(),
                };
                let pool = GlobalThreadPoolOptions::default().with_intra_threads(threads);
                let environment = builder
                    .with_telemetry(false)
                    .with_global_thread_pool(pool.map_err(failed)?)
                    .build()
                    .map_err(failed)?;
                environment.set_log_level(LogLevel::Fatal);
                let version = version(path);
                let path = path.canonicalize().unwrap_or_else(|_| path.clone());
                return Ok(Loaded { environment, library: LibraryInfo { path, version }, threads });
            }
            Err(LoadDynamicError::Dlopen { error, .. }) => {
                tried.push((path.clone(), why(&error)));
            }
            Err(error) => {
                let reason = error.to_string();
                return Err(BackendError::Library { library: path.clone(), reason });
            }
        }
    }
    Err(BackendError::MissingLibrary { named, tried })
}

/// Where the library may be, in order. Only `named` counts where it is set.
fn candidates(named: Option<PathBuf>) -> Vec<PathBuf> {
    if let Some(path) = named {
        return vec![path];
    }
    let name = format!("{}onnxruntime{}", env::consts::DLL_PREFIX, env::consts::DLL_SUFFIX);
    let mut found = Vec::new();
    if let Ok(program) = env::current_exe()
        && let Some(folder) = program.parent()
    {
        // `target/release/cumo` and `target/debug/deps/<test>` find `target/native`.
        for place in [
            "",
            "../lib",
            "../lib/cumo-edge",
            "../local/lib/cumo-edge",
            "../native/onnxruntime",
            "../../native/onnxruntime",
        ] {
            found.push(folder.join(place).join(&name));
        }
    }
    found.push(PathBuf::from(&name));
    // Distributions put the bare name into their development package only.
    found.push(PathBuf::from(format!("{name}.1")));
    found
}

/// The version, from the build information of releases (`git-branch=rel-1.32.0`) or from the end
/// of the file's name (`libonnxruntime.so.1.32.0`).
fn version(path: &Path) -> String {
    let digits = |text: &str| -> String {
        text.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect()
    };
    if let Some((_, rest)) = ::ort::info().split_once("git-branch=rel-") {
        return digits(rest);
    }
    let name = path.canonicalize().ok().and_then(|p| Some(p.file_name()?.to_str()?.to_owned()));
    let name = name.unwrap_or_default();
    name.split_once(".so.").map(|(_, rest)| digits(rest)).unwrap_or_default()
}

/// The first line of the most precise cause.
fn why(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string().lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_library_is_the_only_candidate() {
        assert_eq!(candidates(Some("/x/libort.so".into())), [PathBuf::from("/x/libort.so")]);
        assert!(candidates(None).len() > 1);
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        let is_at_least = |version: &str| {
            LibraryInfo { path: PathBuf::new(), version: version.to_owned() }.is_at_least(24)
        };
        assert!(["1.24.0", "1.24.1", "1.32.0", "1.100", "2.0.0"].into_iter().all(is_at_least));
        assert!(!["1.23.2", "1.9", "1", "0.30", "", "rel"].into_iter().any(is_at_least));
    }

    #[test]
    fn a_missing_library_says_what_to_do_and_where_it_looked() {
        let places =
            [PathBuf::from("/nowhere/libonnxruntime.so"), "/else/libonnxruntime.so".into()];
        let text = load_first(&places, false, 1).err().unwrap().to_string();
        for part in
            ["cargo xtask setup", "ORT_DYLIB_PATH", "\n  /nowhere/libonnxruntime.so (no such"]
        {
            assert!(text.contains(part), "{part} not in {text}");
        }
        assert!(text.lines().all(|line| line.len() <= 100), "{text}");
    }

    #[test]
    fn a_variable_that_names_no_library_is_said_to_be_at_fault() {
        let places = [PathBuf::from("/nowhere/libonnxruntime.so")];
        let text = load_first(&places, true, 1).err().unwrap().to_string();
        let fault = "ORT_DYLIB_PATH does not name ONNX Runtime's library: /nowhere/libonnxruntime.so (no such file)\n";
        assert!(text.starts_with(fault) && text.contains("unset it"), "{text}");
    }

    #[test]
    fn a_file_that_is_no_library_is_said_to_be_none() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let refusal = || load_first(&[file.path().to_owned()], true, 1).err().unwrap().to_string();
        assert!(refusal().contains("is cut off: it has 0 bytes"), "{}", refusal());
        std::fs::write(file.path(), "no library").unwrap();
        assert!(refusal().contains("is no shared object"), "{}", refusal());
    }
}
