//! Checkpoints of the published models' sizes, with random weights.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::workspace::Workspace;
use crate::{process, python};

/// Makes one with `benches/real_shapes.py`. Python alone will do where the tests' packages are not.
///
/// # Errors
/// Python is missing, or the disk is full.
pub(crate) fn make(workspace: &Workspace, checkpoint: &Path, options: &[&str]) -> Result<()> {
    let python = python::with_packages_if_there(workspace);
    process::run(&mut command(python, workspace, checkpoint, options))
}

fn command(
    mut python: Command,
    workspace: &Workspace,
    checkpoint: &Path,
    options: &[&str],
) -> Command {
    python.arg(workspace.root.join("benches/real_shapes.py")).arg(checkpoint).args(options);
    python
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_checkpoint_is_made_with_python_alone() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace::find().unwrap();
        let mut alone = python::interpreter();
        // No package of the machine's is seen, numpy neither.
        alone.args(["-I", "-S"]);
        let checkpoint = folder.path().join("made");
        let options = ["--layers", "1", "--narrow", "16"];
        process::run(&mut command(alone, &workspace, &checkpoint, &options)).unwrap();
        let bytes = fs::read(checkpoint.join("model-00001-of-00001.safetensors")).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let tensor = |name: &str| tensors.tensor(name).unwrap();
        assert_eq!(tensor("model.layers.0.self_attn.k_proj.weight").shape(), [128, 256]);
        assert_eq!(tensor("model.norm.weight").data(), [0x80, 0x3f].repeat(256));
        let values: Vec<f32> = tensor("lm_head.weight")
            .data()
            .chunks_exact(2)
            .map(|half| f32::from_bits(u32::from(u16::from_le_bytes([half[0], half[1]])) << 16))
            .collect();
        let squares: f32 = values.iter().map(|value| value * value).sum();
        let deviation = (squares / values.len() as f32).sqrt();
        assert!((deviation - 0.02).abs() < 1e-3, "{deviation}");
        assert_ne!(values[..256], values[256..512]);
    }
}
