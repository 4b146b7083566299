//! Bundles for TensorRT against ONNX's, stage by stage, on models without goldens: the sample, and
//! two layers a part of CuMo-Mistral-7B's sizes with random weights. Then their engines are built.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::export::Export;
use crate::workspace::Workspace;
use crate::{folder, process, python, real_shapes};

/// What is exported of each model: the reference, then what is compared with it.
const EXPORTS: [Export; 3] = [
    Export { target: "onnx", dtype: "f32", options: &["--debug-outputs"] },
    Export { target: "tensorrt", dtype: "f16", options: &["--debug-outputs"] },
    Export { target: "tensorrt", dtype: "f16", options: &["--moe", "function"] },
];

/// Compares both models and builds their engines. Takes 7 GB of memory and as much of the disk,
/// which is given back.
///
/// # Errors
/// A stage is off, a token is another, or an engine is not built.
pub(crate) fn check(workspace: &Workspace, programs: &Path) -> Result<()> {
    let folder = workspace.target.join("test/two-layers");
    folder::empty(&folder)?;
    let real = folder.join("checkpoint");
    real_shapes::make(workspace, &real, &["--layers", "2"])?;
    for checkpoint in [workspace.root.join("samples/shapes/checkpoint"), real] {
        let bundles = export(programs, &checkpoint, &folder)?;
        let mut compare = python::with_packages(workspace)?;
        compare.arg(workspace.root.join("tests/python/compare_bundles.py"));
        process::run(compare.args(&bundles[..2]).arg("--first-rung"))?;
        for (bundle, has_plugin) in bundles[1..].iter().zip([true, false]) {
            engines(programs, bundle, &folder.join("engines"), has_plugin)?;
        }
    }
    folder::remove(&folder)
}

/// The bundles of a checkpoint, in the order of [`EXPORTS`].
fn export(programs: &Path, checkpoint: &Path, folder: &Path) -> Result<Vec<PathBuf>> {
    let bundle = |(index, export): (usize, &Export)| {
        let bundle = folder.join(index.to_string());
        let exporter = Command::new(programs.join("cumo-export"));
        process::run(&mut export.command(exporter, checkpoint, &bundle))?;
        Ok(bundle)
    };
    EXPORTS.iter().enumerate().map(bundle).collect()
}

/// What `cumo-export engine --explain --json` prints, as far as it is looked at.
#[derive(Deserialize)]
struct Explanation {
    engines: Vec<Engine>,
    f32_products: Vec<String>,
}

#[derive(Deserialize)]
struct Engine {
    file: String,
    compiled: Option<Compiled>,
}

/// What TensorRT made of a network.
#[derive(Deserialize)]
struct Compiled {
    plugins: usize,
    products: BTreeMap<String, usize>,
    in_place: usize,
    /// Weights that every run copies before it multiplies with them.
    copied: Vec<String>,
}

/// Builds a bundle's engines with TensorRT-RTX and looks at what they became: plugin nodes where
/// they are expected and only there, no product of f32, no weight
/// that is copied at every run, keys and values updated in place.
fn engines(programs: &Path, bundle: &Path, folder: &Path, has_plugin: bool) -> Result<()> {
    let exporter = programs.join("cumo-export");
    let mut build = Command::new(&exporter);
    build.arg("engine").arg(bundle).arg("-o").arg(folder);
    process::run(build.args(["--flavour", "rtx", "--force"]))?;
    let mut explain = Command::new(&exporter);
    let text = process::read(explain.args(["engine", "--json", "--explain"]).arg(folder))?;
    let explained: Explanation = serde_json::from_str(&text)
        .with_context(|| format!("`cumo-export engine --explain --json` printed {text}"))?;
    ensure!(explained.f32_products.is_empty(), "products of f32: {:?}", explained.f32_products);
    let mut layers = 0;
    for Engine { file, compiled } in explained.engines {
        let compiled = compiled.with_context(|| format!("{file} cannot be read"))?;
        let routes = file.starts_with("vision_layer") || file.starts_with("connector");
        let is_layer = file.starts_with("decoder_layer");
        layers += usize::from(is_layer);
        let wanted = (usize::from(routes && has_plugin), if is_layer { 2 } else { 0 });
        let found = (compiled.plugins, compiled.in_place);
        ensure!(
            found == wanted,
            "{file}: (plugin nodes, caches in place) {found:?}, not {wanted:?}"
        );
        ensure!(compiled.copied.is_empty(), "{file}: every run copies {:?}", compiled.copied);
        let of_f32 = compiled.products.contains_key("f32");
        ensure!(!of_f32, "{file}: products {:?}", compiled.products);
    }
    ensure!(layers > 1, "{layers} engines of decoder layers");
    Ok(())
}
