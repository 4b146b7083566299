//! `cargo xtask test`: native code, the Rust tests, then the exported files under Python's onnx and
//! onnxruntime.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::export::Export;
use crate::workspace::Workspace;
use crate::{gpu, native, onnxruntime, process, python, sample, two_layers};

/// With these, routers alone are compared.
const ROUTERS: &[&str] = &["--debug-outputs"];

const EXPORTS: [Export; 9] = [
    Export { target: "onnx", dtype: "f32", options: &[] },
    Export { target: "onnx", dtype: "f32", options: ROUTERS },
    Export { target: "onnx", dtype: "f16", options: &[] },
    Export { target: "ort-cpu", dtype: "f32", options: &[] },
    Export { target: "ort-cpu", dtype: "f16", options: &[] },
    Export { target: "tensorrt", dtype: "f16", options: &[] },
    Export { target: "tensorrt", dtype: "f16", options: ROUTERS },
    Export { target: "tensorrt", dtype: "f16", options: &["--moe", "function"] },
    Export { target: "tensorrt-10.3", dtype: "f16", options: &[] },
];

/// Runs everything, or, `quick`, the Rust tests.
///
/// # Errors
/// A test fails, or what the tests need cannot be fetched.
pub(crate) fn run(workspace: &Workspace, quick: bool) -> Result<()> {
    let library = onnxruntime::ensure(workspace)?;
    let mut cargo = process::cargo();
    cargo.args(["test", "--locked", "--workspace"]).current_dir(&workspace.root);
    if !quick {
        println!("== native code");
        native::setup(workspace)?;
        println!("== and once more: what was fetched is whole");
        match native::setup(workspace)? {
            0 => {}
            count => bail!("{count} of the packages' folders were fetched a second time"),
        }
        native::run(workspace)?;
        cargo.env("CUMO_REQUIRE_TENSORRT", "1");
    }
    println!("== Rust tests");
    process::run(cargo.env(onnxruntime::DYLIB_PATH, &library).env("CUMO_CACHE_DIR", ""))?;
    println!("== the stand-in for TensorRT is not loaded by what is built without tests");
    let mut alone = process::cargo();
    alone.args(["test", "--locked", "-p", "cumo-tensorrt", "--test", "tensorrt", "stand_in"]);
    process::run(alone.current_dir(&workspace.root))?;
    if !quick {
        let programs = build_programs(workspace)?;
        println!("== exported files under Python");
        python_tests(workspace, &programs, &library)?;
        println!("== real sizes, two layers a part");
        two_layers::check(workspace, &programs)?;
        println!("== the sample's held-out questions");
        sample::check(workspace, &programs, &library)?;
        println!("== cumo on engines, as `gpu` drives it, on the stand-in for TensorRT");
        gpu::rehearse(workspace, &programs, &library)?;
    }
    Ok(())
}

fn python_tests(workspace: &Workspace, programs: &Path, library: &Path) -> Result<()> {
    let (exporter, cumo) = (programs.join("cumo-export"), programs.join("cumo"));
    let goldens = goldens(workspace)?;
    let folder = workspace.target.join("test/python");
    let mut bundles = Vec::new();
    for golden in &goldens {
        for export in &EXPORTS {
            let bundle = folder.join(folder_name(export, golden));
            process::run(&mut export.command(
                Command::new(&exporter),
                &golden.join("checkpoint"),
                &bundle,
            ))?;
            bundles.push((golden, export, bundle));
        }
    }
    let script = |name: &str| -> Result<Command> {
        let mut python = python::with_packages(workspace)?;
        python.arg(workspace.root.join("tests/python").join(name));
        Ok(python)
    };
    let mut check = script("check_onnx.py")?;
    check.args(bundles.iter().map(|(_, _, bundle)| bundle));
    let sample = workspace.root.join("samples/shapes");
    for export in &EXPORTS {
        let bundle = folder.join(folder_name(export, &sample));
        process::run(&mut export.command(
            Command::new(&exporter),
            &sample.join("checkpoint"),
            &bundle,
        ))?;
        check.arg(bundle);
    }
    process::run(&mut check)?;
    let dense = workspace.root.join("tests/goldens/mistral-dense/checkpoint");
    process::run(script("assembled_parts.py")?.arg(&exporter).arg(dense))?;
    let mut odd = script("odd_checkpoints.py")?;
    odd.env(onnxruntime::DYLIB_PATH, library).arg(&exporter).arg("--cumo").arg(cumo);
    process::run(&mut odd)?;
    let mut failed = Vec::new();
    for (golden, export, bundle) in &bundles {
        let mut compare = script("compare_goldens.py")?;
        compare.arg(golden).arg(bundle).args(["--dtype", export.dtype]);
        if export.options == ROUTERS {
            compare.arg("--routers");
        }
        if let Err(error) = process::run(&mut compare) {
            failed.push(format!("{error:#}"));
        }
    }
    if !failed.is_empty() {
        bail!("{} of {} comparisons failed:\n{}", failed.len(), bundles.len(), failed.join("\n"));
    }
    // The form that test reports are read by.
    println!("python: {} passed, 0 failed", bundles.len() + 3);
    Ok(())
}

/// The folder of a bundle of `golden` below that of all.
fn folder_name(export: &Export, golden: &Path) -> String {
    let golden = golden.file_name().unwrap_or_default().to_string_lossy();
    let options: String =
        export.options.iter().map(|option| format!("-{}", option.trim_matches('-'))).collect();
    format!("{golden}-{}-{}{options}", export.target, export.dtype)
}

/// Builds the programs as the tests built them, and the stand-in beside them; gives their folder.
///
/// # Errors
/// The build fails.
pub(crate) fn build_programs(workspace: &Workspace) -> Result<PathBuf> {
    let mut cargo = process::cargo();
    // All of it: cargo puts the stand-in's library there only where its crate is asked for, and the
    // programs load it only where the tests' crates are.
    cargo.args(["build", "--locked", "--workspace"]).current_dir(&workspace.root);
    process::run(&mut cargo)?;
    Ok(workspace.target.join("debug"))
}

/// Every folder below `tests/goldens` that holds a checkpoint, by name.
///
/// # Errors
/// The folder cannot be read, or has none.
pub(crate) fn goldens(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let folder = workspace.root.join("tests/goldens");
    let entries = std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut goldens: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    goldens.retain(|path| path.join("goldens.json").is_file());
    goldens.sort();
    if goldens.is_empty() {
        bail!("no goldens in {}", folder.display());
    }
    Ok(goldens)
}
