//! `cumo-export engine` on the real TensorRT-RTX builder: what it makes of goldens and of the
//! published models' shapes, what it takes again, and what it says where something does not fit.
//!
//! The tests need the shim and the plugin (`cargo xtask native`) and TensorRT-RTX (`cargo xtask
//! setup --tensorrt`); where these are absent each says that it was skipped, unless
//! CUMO_REQUIRE_TENSORRT is set.

mod built;
mod refused;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use cumo_bundle::{EngineFigures, Engines, EnginesManifest, Pass, WeightsFiles};
use cumo_export::engine::CompiledProgram;
use cumo_onnx::{DType, GraphBuilder, dims};
use cumo_tensorrt::{BuildOptions, Builder, Flavour, Library};
use support::{cumo_export, export, golden, names, stderr};

/// Whether TensorRT-RTX is there; says that the test is skipped where it is not.
fn tensorrt() -> bool {
    let Err(error) = Library::open(Flavour::Rtx) else { return true };
    let message = "run `cargo xtask setup --tensorrt` and `cargo xtask native`";
    assert!(std::env::var_os("CUMO_REQUIRE_TENSORRT").is_none(), "{message}: {error}");
    skip(&format!("{message}: {error}"));
    false
}

/// Says that a test is skipped, past the harness, which keeps what passing tests print.
fn skip(reason: &str) {
    use std::io::Write;
    std::io::stderr().write_all(format!("skipped: {reason}\n").as_bytes()).unwrap();
}

/// What `cumo-export engine INPUT -o OUTPUT ARGUMENTS` did.
fn engine(input: &Path, output: &Path, arguments: &[&str]) -> Output {
    let mut command = cumo_export();
    command.arg("engine").arg(input).arg("-o").arg(output).args(arguments);
    command.output().expect("cumo-export starts")
}

/// Builds engines; gives the folder, whose files were all checked.
fn built(input: &Path, output: &Path, arguments: &[&str]) -> Engines {
    let result = engine(input, output, arguments);
    assert!(result.status.success(), "{}", stderr(&result));
    let engines = Engines::open(output).unwrap();
    engines.verify(|_| ()).unwrap();
    engines
}

/// The message of a build that must fail and leave nothing behind.
fn refused(input: &Path, arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let result = engine(input, &folder.path().join("engines"), arguments);
    let message = stderr(&result);
    assert_eq!(result.status.code(), Some(1), "{message}");
    assert!(!message.contains("panicked"), "{message}");
    let left = names(folder.path());
    assert!(left.is_empty(), "{left:?}");
    message
}

/// A golden's bundle.
fn bundle(golden_name: &str, folder: &Path, arguments: &[&str]) -> PathBuf {
    let path = folder.join("bundle");
    let all = [&["--target", "tensorrt"], arguments].concat();
    let result = export(&golden(golden_name), &path, &all);
    assert!(result.status.success(), "{}", stderr(&result));
    path
}

/// A folder of the published model's configuration alone.
fn shapes(model: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(model)
}

/// Plugin nodes of a graph's engines.
fn plugin_nodes(manifest: &EnginesManifest, graph: &str) -> Vec<usize> {
    let engines = manifest.engines.iter().filter(|engine| engine.graph == graph);
    engines.map(|engine| engine.contents.plugins.get("CumoMoE").copied().unwrap_or(0)).collect()
}

/// What every folder of engines must hold: no f32 product, no weight that is copied in every run,
/// caches updated where they lie, and plugin nodes, in the network as parsed and in what TensorRT compiled of it; and figures of its memory.
fn check_engines(engines: &Engines) {
    let manifest = &engines.manifest;
    for engine in &manifest.engines {
        let (file, parsed) = (&engine.file, &engine.contents);
        assert!(parsed.f32_products.is_empty(), "{file}: {:?}", parsed.f32_products);
        let caches = if engine.graph == "decoder_layer" { 2 } else { 0 };
        assert_eq!(parsed.caches_in_place, caches, "{file}");
        let compiled = CompiledProgram::read(&engines.read(engine).unwrap());
        let compiled = compiled.unwrap_or_else(|| panic!("{file}: its program is not read"));
        assert_eq!(compiled.in_place, caches, "{file}");
        assert_eq!(compiled.plugins, parsed.plugins.values().sum::<usize>(), "{file}");
        assert!(compiled.products.keys().all(|dtype| dtype == "f16"), "{file}: {compiled:?}");
        assert!(compiled.kernels > compiled.plugins, "{file}: {compiled:?}");
        assert!(compiled.copied.is_empty(), "{file} copies {:?}", compiled.copied);
        // Longer ones have no kernel for one position.
        if engine.pass == Pass::Decode && engine.attended <= Some(16384) {
            assert!(
                compiled.copied_caches.is_empty(),
                "{file} copies {:?}",
                compiled.copied_caches
            );
        }
        let EngineFigures { activation_bytes, persistent_bytes, weights_bytes, .. } =
            engine.figures;
        let figures = [activation_bytes, persistent_bytes, weights_bytes];
        assert!(figures.iter().all(Option::is_some), "{file}: {figures:?}");
    }
    let ladder: Vec<_> = manifest.limits.attended.iter().copied().map(Some).collect();
    for pass in [Pass::Prefill, Pass::Decode] {
        let layers = manifest.engines.iter().filter(|engine| engine.graph == "decoder_layer");
        let rungs = layers.filter(|engine| engine.pass == pass).map(|engine| engine.attended);
        assert_eq!(rungs.collect::<Vec<_>>(), ladder, "{pass:?}");
    }
}
