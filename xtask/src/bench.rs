//! `cargo xtask bench`: the benchmarks of `benches/`, by name.

use anyhow::{Context, Result};

use crate::workspace::Workspace;
use crate::{onnxruntime, process, python};

/// A benchmark and how it is started.
struct Bench {
    name: &'static str,
    about: &'static str,
    kind: Kind,
}

enum Kind {
    /// A `[[bench]]` of `benches/Cargo.toml`.
    Cargo,
    /// A script of `benches/`, after the release programs were built.
    Script,
}

const BENCHES: [Bench; 5] = [
    Bench {
        name: "moe",
        about: "one MoE layer at CLIP's sizes in ONNX Runtime: sparse against dense",
        kind: Kind::Cargo,
    },
    Bench {
        name: "moe_engine",
        about: "[--rows N] [--runs N] [--tensor-tflops N]: the same through TensorRT on a GPU: plugin \
                against dense",
        kind: Kind::Cargo,
    },
    Bench {
        name: "decode_overhead",
        about: "the runtime's own time per generated token, ONNX Runtime excluded",
        kind: Kind::Cargo,
    },
    Bench {
        name: "real_shapes",
        about: "FOLDER [--layers N]: makes a random checkpoint of CuMo-Mistral-7B's shapes",
        kind: Kind::Script,
    },
    Bench {
        name: "export_memory",
        about: "CHECKPOINT: peak memory and time of an f16 export against copying the bytes",
        kind: Kind::Script,
    },
];

/// Lists the benchmarks, or runs one.
///
/// # Errors
/// No such benchmark, or it fails.
pub(crate) fn run(workspace: &Workspace, name: Option<&str>, args: &[String]) -> Result<()> {
    let Some(name) = name else {
        println!("cargo xtask bench NAME [ARGS]...");
        for bench in &BENCHES {
            println!("  {:16} {}", bench.name, bench.about);
        }
        return Ok(());
    };
    let bench = BENCHES.iter().find(|bench| bench.name == name);
    let bench = bench.with_context(|| format!("no benchmark `{name}`; `bench` lists them"))?;
    match bench.kind {
        Kind::Cargo => {
            let mut cargo = process::cargo();
            cargo.args(["bench", "--locked", "--package", "cumo-benches", "--bench", name, "--"]);
            cargo.args(args).current_dir(&workspace.root);
            cargo.env(onnxruntime::DYLIB_PATH, onnxruntime::ensure(workspace)?);
            cargo.env("CUMO_CACHE_DIR", "");
            process::run(&mut cargo)
        }
        Kind::Script => {
            build_release(workspace)?;
            let mut python = python::with_packages(workspace)?;
            python.arg(workspace.root.join(format!("benches/{name}.py"))).args(args);
            python.env("CUMO_EXPORT", workspace.target.join("release/cumo-export"));
            python.env("CUMO_CACHE_DIR", "");
            process::run(&mut python)
        }
    }
}

/// Builds the programs as they are shipped.
///
/// # Errors
/// The build fails.
pub(crate) fn build_release(workspace: &Workspace) -> Result<()> {
    let mut cargo = process::cargo();
    cargo.args(["build", "--locked", "--release", "--package", "cumo-export"]);
    cargo.args(["--package", "cumo-runtime", "--bins"]).current_dir(&workspace.root);
    process::run(&mut cargo)
}
