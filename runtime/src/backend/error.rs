//! What can go wrong in a backend, and what to do about it.

use std::path::PathBuf;

use crate::memory_plan::MemoryPlan;

/// What can go wrong in a backend.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The library that runs graphs is not on this machine.
    #[error("{}", missing_library(tried, *named))]
    MissingLibrary {
        /// Whether the environment variable `ORT_DYLIB_PATH` names the place.
        named: bool,
        /// Every place that was looked at, with what was wrong there.
        tried: Vec<(PathBuf, String)>,
    },
    /// More threads were asked for than help, or none.
    #[error("{threads} threads: it must be between 1 and {most} on this machine")]
    Threads {
        /// What was asked for.
        threads: usize,
        /// The most that can be.
        most: usize,
    },
    /// The library is there and cannot be used.
    #[error("{library} cannot be used: {reason}")]
    Library {
        /// The library's file.
        library: PathBuf,
        /// What it says.
        reason: String,
    },
    /// A graph could not be loaded.
    #[error("{file}: {reason}")]
    Graph {
        /// The graph's file.
        file: PathBuf,
        /// What the runtime says.
        reason: String,
    },
    /// A graph keeps weights in a file that is not one of the bundle's.
    #[error(
        "{file}: its weights are said to be in `{location}`, which is not one of the bundle's files; not loaded"
    )]
    ForeignData {
        /// The graph's file.
        file: PathBuf,
        /// The location that it names.
        location: String,
    },
    /// A graph does not take or give what the manifest says.
    #[error("{file}: {what}")]
    Signature {
        /// The graph's file.
        file: PathBuf,
        /// The difference.
        what: String,
    },
    /// A file of weights could not be mapped.
    #[error("{file}: {reason}")]
    Weights {
        /// The file.
        file: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// A step failed.
    #[error("graph `{graph}` failed: {reason}")]
    Run {
        /// The graph's name in the manifest.
        graph: String,
        /// What the runtime says.
        reason: String,
    },
    /// A step was stopped by its [`super::Interrupt`].
    #[error("stopped")]
    Interrupted,
    /// There is not enough memory.
    #[error(
        "{bytes} bytes of memory are not to be had; a shorter context (--max-new-tokens) or fewer images need less"
    )]
    OutOfMemory {
        /// Bytes that were asked for.
        bytes: usize,
    },
    /// TensorRT, or what it needs, is not on this machine.
    #[error("{what} cannot be used: {reason}")]
    Tensorrt {
        /// What it is, for example `TensorRT-RTX`.
        what: String,
        /// What is missing, and where it was looked for.
        reason: String,
    },
    /// The device has too little free memory for the model; nothing was allocated.
    #[error("{0}")]
    DeviceMemory(Box<MemoryPlan>),
    /// The device has no memory left for something.
    #[error(
        "the device has no memory left ({doing}): {reason}; other programs that use it take some, and engines of a smaller --max-context, --max-prompt or --max-images need less"
    )]
    DeviceFull {
        /// What was being done.
        doing: String,
        /// What CUDA or TensorRT says.
        reason: String,
    },
    /// The device, or its driver, failed: what was computed is lost.
    #[error("the device failed ({doing}): {reason}")]
    Device {
        /// What was being done.
        doing: String,
        /// What CUDA says.
        reason: String,
    },
    /// Something was to be written into a file of weights.
    #[error("a file of weights is only read")]
    ReadOnly,
    /// A tensor or a piece of it lies outside its buffer.
    #[error("bytes {offset}..{end} of a buffer of {size} bytes were asked for")]
    OutOfBounds {
        /// First byte.
        offset: usize,
        /// One behind the last byte.
        end: usize,
        /// Bytes of the buffer.
        size: usize,
    },
}

fn missing_library(tried: &[(PathBuf, String)], named: bool) -> String {
    let places = tried.iter().map(|(path, why)| format!("{} ({why})", path.display()));
    if named {
        let place = places.collect::<Vec<_>>().join(", ");
        return format!(
            "ORT_DYLIB_PATH does not name ONNX Runtime's library: {place}\n\
             Set it to the file libonnxruntime.so, or unset it and install the library in \
             /usr/local/lib/cumo-edge (in the repository, `cargo xtask setup` gets it)."
        );
    }
    let places: String = places.map(|place| format!("\n  {place}")).collect();
    format!(
        "ONNX Runtime's library was not found.\n\
         Get it from PyPI:\n  \
           pip download --no-deps --only-binary=:all: --python-version 3.12 -d ort onnxruntime\n  \
           python3 -m zipfile -e ort/onnxruntime-*.whl ort\n  \
           export ORT_DYLIB_PATH=$(ls $PWD/ort/onnxruntime/capi/libonnxruntime.so.*)\n\
         or copy it to /usr/local/lib/cumo-edge/libonnxruntime.so, beside an installed cumo.\n\
         In the repository, `cargo xtask setup` gets it.\n\
         Looked at:{places}"
    )
}
