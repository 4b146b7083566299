//! `cumo-export onnx`, as every step that needs a bundle calls it.

use std::path::Path;
use std::process::Command;

/// One way to export a checkpoint.
pub(crate) struct Export {
    pub(crate) target: &'static str,
    pub(crate) dtype: &'static str,
    /// Further arguments.
    pub(crate) options: &'static [&'static str],
}

impl Export {
    /// `exporter` with its arguments.
    pub(crate) fn command(&self, exporter: Command, checkpoint: &Path, bundle: &Path) -> Command {
        let mut command = onnx(exporter, checkpoint, bundle, self.target);
        command.args(["--dtype", self.dtype]).args(self.options);
        command
    }
}

/// `exporter` with the arguments that export a checkpoint for a target, in its default precision,
/// in the place of what is there.
pub(crate) fn onnx(
    mut exporter: Command,
    checkpoint: &Path,
    bundle: &Path,
    target: &str,
) -> Command {
    exporter.arg("onnx").arg(checkpoint).arg("-o").arg(bundle);
    exporter.args(["--target", target, "--force"]);
    exporter
}
