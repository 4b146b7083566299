//! What can go wrong as engines are built.

use std::io;
use std::path::PathBuf;

use cumo_bundle::Target;

/// Building engines failed; nothing was left behind.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The checkpoint cannot be exported.
    #[error(transparent)]
    Export(#[from] crate::Error),
    /// The bundle cannot be read, or the engines not written.
    #[error(transparent)]
    Bundle(cumo_bundle::Error),
    /// The bundle is for another runtime.
    #[error(
        "{}: a bundle of target {target}; engines are built of target tensorrt or tensorrt-10.3: \
         `cumo-export onnx CHECKPOINT --target tensorrt`", path.display()
    )]
    Target {
        /// The bundle.
        path: PathBuf,
        /// Its target.
        target: Target,
    },
    /// The bundle holds experts in the other way.
    #[error(
        "{}: its graphs hold experts as {have}, and --moe {want} was asked for: export it again \
         with `cumo-export onnx --moe {want}`", path.display()
    )]
    Moe {
        /// The bundle.
        path: PathBuf,
        /// What it has.
        have: &'static str,
        /// What was asked for.
        want: &'static str,
    },
    /// A size that cannot be.
    #[error("--{option} {value}: {reason}")]
    Size {
        /// The option.
        option: &'static str,
        /// Its value.
        value: usize,
        /// What it must be, with the numbers.
        reason: String,
    },
    /// The folder that keeps engines cannot be written into.
    #[error("--cache {}: it must be a folder that can be written into, or made", path.display())]
    Cache {
        /// What was named.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// An option that this flavour does not have.
    #[error("{0}")]
    Option(String),
    /// TensorRT, its driver, or the plugin are not there.
    #[error("{what}: {cause}{advice}")]
    Toolkit {
        /// What was to be loaded.
        what: String,
        /// What is missing. No `source`: the message has all of it.
        cause: Box<cumo_tensorrt::Error>,
        /// What to do about it.
        advice: &'static str,
    },
    /// There is no plugin's library.
    #[error(
        "the graphs hold CumoMoE nodes, and the plugin was not found: give --plugin \
         libcumo_plugin.so, build it with `cargo xtask native`, or take --moe function\n\
         looked for: {}",
        tried.join(", ")
    )]
    NoPlugin {
        /// Files that are not there.
        tried: Vec<String>,
    },
    /// The plugin does not run on a device that was asked for.
    #[error(
        "the graphs hold CumoMoE nodes, whose kernels need compute capability 8.0 or later, not \
         {device}: export with --moe function"
    )]
    PluginDevice {
        /// The device's compute capability.
        device: String,
    },
    /// A graph's input has a size that no option gives.
    #[error("graph `{graph}`: its input `{input}` depends on `{symbol}`, which no option gives")]
    Symbol {
        /// The graph.
        graph: String,
        /// The input.
        input: String,
        /// The size.
        symbol: String,
    },
    /// TensorRT refused a graph.
    #[error("engine {engine} (graph `{graph}` of part `{part}`): {}", refusal(cause))]
    Build {
        /// The engine.
        engine: String,
        /// The graph.
        graph: String,
        /// The part of the model that it belongs to.
        part: String,
        /// What TensorRT says. No `source`: the message has all of it.
        cause: Box<cumo_tensorrt::Error>,
    },
    /// Layer graphs do not make one graph.
    #[error("--weights const: {0}")]
    Link(String),
    /// The disk is full, or will be.
    #[error("{}: no space on this disk: {needed} bytes are needed, {free} are free", path.display())]
    NoSpace {
        /// The folder.
        path: PathBuf,
        /// Bytes to be written.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The disk is full.
    #[error("{}: no space left on this disk; nothing was written", path.display())]
    DiskFull {
        /// What was being written.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error("{}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The user interrupted the build.
    #[error("interrupted; nothing was written")]
    Interrupted,
}

impl From<cumo_bundle::Error> for Error {
    fn from(error: cumo_bundle::Error) -> Self {
        match error {
            cumo_bundle::Error::Io { path, source }
                if source.kind() == io::ErrorKind::StorageFull =>
            {
                Error::DiskFull { path }
            }
            other => Error::Bundle(other),
        }
    }
}

/// TensorRT's refusal: of a parser's the nodes, each on a line.
fn refusal(error: &cumo_tensorrt::Error) -> String {
    let cumo_tensorrt::Error::Parse { errors, .. } = error else {
        let text = error.to_string();
        let advice = "\nThe limit is that of --workspace, without which it is TensorRT's own";
        return if text.contains("workspace limit") { text + advice } else { text };
    };
    let nodes = errors.iter().filter(|error| error.index.is_some() || !error.operator.is_empty());
    let lines: Vec<String> = nodes
        .map(|error| {
            let operator = if error.operator.is_empty() { "?" } else { &error.operator };
            format!("operator {operator}, node `{}`: {}", error.node, error.text)
        })
        .collect();
    match lines.is_empty() {
        true => error.to_string(),
        false => format!("TensorRT does not support\n  {}", lines.join("\n  ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_apart() {
        let source = io::Error::from_raw_os_error(28);
        let error = cumo_bundle::Error::io("out/head.engine", source);
        let message = Error::from(error).to_string();
        assert_eq!(message, "out/head.engine: no space left on this disk; nothing was written");
    }
}
