//! The pointers that the shim gives out: each is owned by one value, freed once, and kept from
//! outliving what it was made from. Above this module there is no `unsafe`.
//!
//! Every call into the shim relies on this, which SAFETY comments do not repeat: the functions are
//! those of `cumo_trt.h`, checked by the ABI's number when the shim was loaded, and the header says
//! that the shim keeps no pointer that it was given, unless it says so of that one. What the header
//! asks of the caller, each comment answers.
#![allow(unsafe_code, reason = "owns pointers of the C ABI")]

mod builder;
#[cfg(test)]
pub(crate) mod fake;
mod host;
mod kernels;
mod library;
mod log;
mod plugin;
mod runtime;
mod stream;

pub(crate) use builder::{BlobHandle, NetworkHandle, RawBuildOptions};
pub(crate) use host::{MapError, PinnedHandle};
pub(crate) use kernels::KernelsHandle;
pub(crate) use library::LibraryHandle;
pub(crate) use log::LogTarget;
pub(crate) use plugin::layout_version;
pub(crate) use runtime::{ContextHandle, EngineHandle, RuntimeHandle};
pub(crate) use stream::{BufferHandle, EventHandle, GraphHandle, StreamHandle};

use std::ffi::{CStr, CString, c_char};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::Arc;

use crate::error::{Error, ParseError};
use crate::flavour::Flavour;
use crate::sys::{self, Api, code};

/// A loaded shim.
pub(crate) struct Shim {
    api: Api,
}

impl Shim {
    /// Loads the first of `files` that is there, and checks that it is the shim of the flavour.
    pub(crate) fn load(flavour: Flavour, files: &[PathBuf]) -> Result<Arc<Self>, Error> {
        let mut tried = Vec::new();
        for file in files {
            // The loader would wait for a pipe, and be ended by a file that is cut off.
            if let Err(fault) = cumo_shared_object::check(file) {
                // A link to nothing is a fault, and no place where there is nothing.
                let is_there = file.symlink_metadata().is_ok();
                tried.push((file.clone(), is_there.then(|| fault.to_string())));
                continue;
            }
            // SAFETY: the file has the name of a shim and lies where this project's shims are
            // installed, or the user named it. Its ABI is compared before anything else is called.
            match unsafe { Api::load(file.as_os_str()) } {
                Ok(api) => return Self::checked(api, flavour, file),
                Err(libloading::Error::DlSym { .. }) => {
                    // SAFETY: as above: the file was loaded a moment ago, and has that function of
                    // a shim's, or none of this name.
                    let abi = unsafe { Api::abi_of(file.as_os_str()) };
                    let reason = match abi.map(|abi| judge(abi, LOADS_STAND_IN)) {
                        Some(Err(reason)) => reason,
                        Some(Ok(())) | None => MISSING.to_owned(),
                    };
                    return Err(Error::WrongShim { path: file.clone(), reason });
                }
                Err(error) => tried.push((file.clone(), loader_fault(file, &error))),
            }
        }
        Err(Error::MissingShim { flavour, tried })
    }

    fn checked(api: Api, flavour: Flavour, file: &Path) -> Result<Arc<Self>, Error> {
        let wrong = |reason| Err(Error::WrongShim { path: file.to_owned(), reason });
        // SAFETY: this function has had the same type in every version of the shim.
        let abi = unsafe { (api.abi_version)() };
        if let Err(reason) = judge(abi, LOADS_STAND_IN) {
            return wrong(reason);
        }
        // SAFETY: nothing is passed; the text is static, and is copied.
        let name = unsafe { text((api.flavour)()) };
        if name != flavour.name() {
            return wrong(format!("is the shim of TensorRT {name}, not of {flavour}"));
        }
        Ok(Arc::new(Shim { api }))
    }

    /// Turns a status into a result, and frees it.
    fn check(&self, status: *mut sys::Status) -> Result<(), Error> {
        if status.is_null() {
            return Ok(());
        }
        // SAFETY: a call gave the status to the caller, who has given it away, and it is not null:
        // it is ours until `status_free`, and its texts, which are copied, live as long.
        unsafe {
            let reason = text((self.api.status_text)(status));
            let error = match (self.api.status_code)(status) {
                code::MISSING_LIBRARY => Error::MissingLibrary { reason },
                code::WRONG_LIBRARY => Error::WrongLibrary { reason },
                code::MISSING_DRIVER => Error::MissingDriver { reason },
                code::PLUGIN => Error::Plugin { reason },
                code::PARSE => Error::Parse { reason, errors: self.parse_errors(status) },
                code::PROFILE => Error::Profile { reason },
                code::BUILD => Error::Build { reason },
                code::CANCELLED => Error::Cancelled,
                code::UNSUPPORTED => Error::Unsupported { reason },
                code::WRONG_ENGINE => Error::WrongEngine { reason },
                code::OUT_OF_MEMORY => Error::OutOfMemory { reason },
                code::CUDA => Error::Cuda { reason },
                code::RUN => Error::Run { reason },
                _ => Error::Internal { reason },
            };
            (self.api.status_free)(status);
            Err(error)
        }
    }

    /// The parse errors of a status.
    ///
    /// # Safety
    /// `status` is one that the shim gave and that was not freed.
    unsafe fn parse_errors(&self, status: *const sys::Status) -> Vec<ParseError> {
        // SAFETY: the caller's promise; texts live as long as the status.
        unsafe {
            let count = (self.api.status_num_parse_errors)(status);
            let errors = (0..count).map(|index| (self.api.status_parse_error)(status, index));
            errors
                .map(|error| ParseError {
                    text: text(error.text),
                    node: text(error.name),
                    operator: text(error.operator_type),
                    index: usize::try_from(error.index).ok(),
                })
                .collect()
        }
    }
}

/// What is wrong with a library that does not tell more.
const MISSING: &str = "is not the shim that this program needs: functions are missing";

/// Whether a stand-in for the shim is loaded as well: by tests, never by a release.
const LOADS_STAND_IN: bool = cfg!(all(feature = "stand-in", debug_assertions));

/// What the loader says of a file that it does not take; none where it found none of a bare name.
fn loader_fault(file: &Path, error: &libloading::Error) -> Option<String> {
    let reason = chain(error);
    let is_bare = file.components().count() < 2;
    let is_missing = is_bare && reason.contains(&format!("{}: cannot open", file.display()));
    (!is_missing).then(|| format!("cannot be loaded: {reason}"))
}

/// Says of a shim's ABI what is wrong with it.
fn judge(abi: u32, loads_stand_in: bool) -> Result<(), String> {
    let (version, expected) = (abi & !sys::STAND_IN, sys::ABI_VERSION);
    if abi != version && !loads_stand_in {
        return Err("is a stand-in for tests, which this program does not load".to_owned());
    }
    match version == expected {
        true => Ok(()),
        false => {
            let (age, what_to_do) = match version < expected {
                true => (
                    "older",
                    "build it anew with `cargo xtask native`, or install both from one package",
                ),
                false => ("newer", "take the `cumo` that it came with"),
            };
            Err(format!(
                "is a shim of ABI {version}, {age} than this program, which needs {expected}; {what_to_do}"
            ))
        }
    }
}

/// An error and what caused it, as one text.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    let parts = std::iter::once(error.to_string()).chain(causes.map(ToString::to_string));
    parts.collect::<Vec<_>>().join(": ")
}

/// A text of the shim's; bytes that are not UTF-8 are replaced.
///
/// # Safety
/// `pointer` is null or points to bytes that end with a NUL.
unsafe fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

/// A text for the shim.
fn c_text(text: &str) -> Result<CString, Error> {
    CString::new(text)
        .map_err(|_| Error::Internal { reason: format!("{text:?} has a NUL character in it") })
}

/// A path for the shim.
fn c_path(path: &Path) -> Result<CString, Error> {
    c_text(&path.to_string_lossy())
}

/// A handle that a call without an error must have given.
fn given<T>(pointer: *mut T) -> Result<NonNull<T>, Error> {
    NonNull::new(pointer).ok_or_else(|| Error::Internal { reason: "the shim gave null".to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stand_in_is_loaded_only_where_tests_are_compiled() {
        assert_eq!(judge(sys::ABI_VERSION, false), Ok(()));
        assert_eq!(judge(sys::ABI_VERSION | sys::STAND_IN, true), Ok(()));
        let message = judge(sys::ABI_VERSION | sys::STAND_IN, false).unwrap_err();
        assert_eq!(message, "is a stand-in for tests, which this program does not load");
        for loads_stand_in in [false, true] {
            let message = judge(sys::ABI_VERSION + 1, loads_stand_in).unwrap_err();
            assert!(message.starts_with("is a shim of ABI "), "{message}");
        }
    }
}
