//! What can go wrong, by who must act.

use std::path::PathBuf;

use crate::flavour::Flavour;

/// What this crate's functions fail with. Texts of TensorRT's and of CUDA's are passed on as they
/// are, a line each after the first.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The shim was not found: the native part is to be built or installed.
    #[error("{}", missing_shim(*.flavour, .tried))]
    MissingShim {
        /// The flavour asked for.
        flavour: Flavour,
        /// Files that were looked for, and what is wrong with those that are there.
        tried: Vec<(PathBuf, Option<String>)>,
    },
    /// A shim is there and is not this program's.
    #[error("{}: {reason}", .path.display())]
    WrongShim {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// TensorRT, or a part of it, is not installed.
    #[error("{reason}")]
    MissingLibrary {
        /// What is missing and where it was looked for.
        reason: String,
    },
    /// TensorRT is installed in a version that this program was not compiled for.
    #[error("{reason}")]
    WrongLibrary {
        /// Both versions.
        reason: String,
    },
    /// There is no NVIDIA driver, or it has no device.
    #[error("{reason}")]
    MissingDriver {
        /// What is missing.
        reason: String,
    },
    /// A plugin library cannot be loaded.
    #[error("{reason}")]
    Plugin {
        /// The file and what is wrong with it.
        reason: String,
    },
    /// The model is not ONNX, or holds what this TensorRT does not support.
    #[error("{reason}")]
    Parse {
        /// All of it as one text.
        reason: String,
        /// What the parser refused, each with its node. May be empty.
        errors: Vec<ParseError>,
    },
    /// A profile does not fit the network's inputs.
    #[error("{reason}")]
    Profile {
        /// The input, the dimension and the numbers.
        reason: String,
    },
    /// TensorRT's builder refused the network.
    #[error("{reason}")]
    Build {
        /// What TensorRT says.
        reason: String,
    },
    /// The progress callback asked to stop.
    #[error("the build was cancelled")]
    Cancelled,
    /// An option that this flavour or version does not have.
    #[error("{reason}")]
    Unsupported {
        /// The option and who has it.
        reason: String,
    },
    /// The bytes are no engine, or one for another TensorRT, driver or device.
    #[error("{reason}")]
    WrongEngine {
        /// What TensorRT says.
        reason: String,
    },
    /// The device, or the host, has too little memory.
    #[error("{reason}")]
    OutOfMemory {
        /// How much was asked for and what is free, where known.
        reason: String,
    },
    /// The CUDA driver refused something else.
    #[error("{reason}")]
    Cuda {
        /// What was tried, and CUDA's words.
        reason: String,
    },
    /// TensorRT refused a shape, an address or an execution; or a copy leaves a buffer.
    #[error("{reason}")]
    Run {
        /// What was refused.
        reason: String,
    },
    /// A file cannot be read.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A fault of this crate or of the shim.
    #[error("{reason}")]
    Internal {
        /// What happened.
        reason: String,
    },
}

/// One thing that TensorRT's ONNX parser refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// What the parser says.
    pub text: String,
    /// The node's name; empty where it has none, or no node is to blame.
    pub node: String,
    /// The node's operator; empty where the parser does not say.
    pub operator: String,
    /// The node's place in the graph.
    pub index: Option<usize>,
}

/// What is missing or wrong, then what to do, then where it was looked for: a line each.
fn missing_shim(flavour: Flavour, tried: &[(PathBuf, Option<String>)]) -> String {
    let name = flavour.shim_name();
    let fault = |(path, fault): &(PathBuf, Option<String>)| {
        fault.as_ref().map(|fault| format!("{} {fault}", path.display()))
    };
    let faults: Vec<String> = tried.iter().filter_map(fault).collect();
    let what = match faults.is_empty() {
        true => format!("{name} was not found"),
        false => faults.join("\n"),
    };
    let empty = tried.iter().filter(|(_, fault)| fault.is_none());
    let places: Vec<String> = empty
        .map(|(path, _)| match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.display().to_string(),
            _ => "where the system's loader looks".to_owned(),
        })
        .collect();
    let mut lines = vec![what, WHAT_TO_DO.to_owned()];
    if !places.is_empty() {
        lines.push(format!("looked in: {}", places.join(", ")));
    }
    lines.join("\n")
}

/// How one comes by a shim.
const WHAT_TO_DO: &str = "build the shim with `cargo xtask native`, or where cumo is installed with `sudo sh \
     /usr/share/cumo-edge/native/build.sh`, or name its folder in CUMO_TRT_SHIM";
