//! Bundles for TensorRT against ONNX's, stage by stage, on models without goldens: the sample, and
//! two layers a part of CuMo-Mistral-7B's sizes with random weights. Then their engines are built.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::workspace::Workspace;
use crate::{process, python};

/// What is exported of each model: the reference, then what is compared with it.
const EXPORTS: [(&str, &str, &[&str]); 3] = [
    ("onnx", "f32", &["--debug-outputs"]),
    ("tensorrt", "f16", &["--debug-outputs"]),
    ("tensorrt", "f16", &["--moe", "function"]),
];

/// Compares both models and builds their engines. Takes 7 GB of memory and as much of the disk,
/// which is given back.
///
/// # Errors
/// A stage is off, a token is another, or an engine is not built.
pub(crate) fn check(workspace: &Workspace, programs: &Path) -> Result<()> {
    let folder = workspace.target.join("test/two-layers");
    empty(&folder)?;
    let real = folder.join("checkpoint");
    let mut make = python::with_packages(workspace)?;
    make.arg(workspace.root.join("benches/real_shapes.py")).arg(&real).args(["--layers", "2"]);
    process::run(&mut make)?;
    for checkpoint in [workspace.root.join("samples/shapes/checkpoint"), real] {
        let bundles = export(programs, &checkpoint, &folder)?;
        let mut compare = python::with_packages(workspace)?;
        compare.arg(workspace.root.join("tests/python/compare_bundles.py"));
        process::run(compare.args(&bundles[..2]).arg("--first-rung"))?;
        for bundle in &bundles[1..] {
            let mut engine = Command::new(programs.join("cumo-export"));
            engine.arg("engine").arg(bundle).arg("-o").arg(folder.join("engines"));
            process::run(engine.args(["--flavour", "rtx", "--force"]))?;
        }
    }
    empty(&folder)
}

/// The bundles of a checkpoint, in the order of [`EXPORTS`].
fn export(programs: &Path, checkpoint: &Path, folder: &Path) -> Result<Vec<PathBuf>> {
    let bundle = |(index, (target, dtype, options)): (usize, &(&str, &str, &[&str]))| {
        let bundle = folder.join(index.to_string());
        let mut export = Command::new(programs.join("cumo-export"));
        export.arg("onnx").arg(checkpoint).arg("-o").arg(&bundle).arg("--force");
        process::run(export.args(["--target", target, "--dtype", dtype]).args(*options))?;
        Ok(bundle)
    };
    EXPORTS.iter().enumerate().map(bundle).collect()
}

/// Sees to it that a folder is there and empty.
fn empty(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())
}
