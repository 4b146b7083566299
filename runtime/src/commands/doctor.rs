//! `cumo doctor`: what this machine has for running models.

use std::process::ExitCode;

use anyhow::{Result, bail};
use cumo_runtime::machine::{Machine, Memory, Nvidia, Processor};
use serde::Serialize;

use super::board::BoardReport;
use super::{console, doctor_tensorrt};
use crate::cli::DoctorArgs;
use doctor_tensorrt::{KernelsReport, TensorrtReport};

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report {
    version: &'static str,
    processor: Processor,
    memory: Option<Memory>,
    onnxruntime: Option<OnnxRuntime>,
    nvidia: Nvidia,
    tensorrt: Vec<TensorrtReport>,
    kept_kernels: Option<KernelsReport>,
    #[serde(flatten)]
    board: BoardReport,
    missing: Vec<Missing>,
    /// Whether bundles can run, on ONNX Runtime.
    runs_bundles: bool,
    /// Whether folders of engines can run, on TensorRT; none where it was not looked for.
    runs_engines: Option<bool>,
}

#[derive(Debug, Serialize)]
struct OnnxRuntime {
    path: String,
    version: String,
}

/// Something that is not there, and what mends it.
#[derive(Debug, Serialize)]
struct Missing {
    what: String,
    mend: &'static str,
}

pub(crate) fn run(args: &DoctorArgs) -> Result<ExitCode> {
    if let Some(root) = args.root.as_ref().filter(|root| !root.is_dir()) {
        bail!("--root {}: no such folder", root.display());
    }
    let machine = args.root.as_ref().map_or_else(Machine::this, Machine::below);
    let report = examine(&machine, args.root.is_some());
    match args.json {
        true => console::print_json(&report)?,
        false => {
            console::print_line(&console::presentable(&for_people(&report, args.root.is_some())))?
        }
    }
    Ok(match report.runs_bundles || report.runs_engines == Some(true) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// What a machine has; of one whose files lie elsewhere, not the libraries that this program would
/// load here.
fn examine(machine: &Machine, is_elsewhere: bool) -> Report {
    let mut missing = Vec::new();
    let onnxruntime = find_onnxruntime(&mut missing);
    let tensorrt = if is_elsewhere { Vec::new() } else { doctor_tensorrt::find() };
    let nvidia = machine.nvidia();
    if nvidia.driver.is_none() && nvidia.pci_devices > 0 {
        missing.push(Missing {
            what: "an NVIDIA device is there and its driver is not (CPU only)".to_owned(),
            mend: "sudo apt install nvidia-driver",
        });
    }
    Report {
        version: env!("CARGO_PKG_VERSION"),
        processor: machine.processor(),
        memory: machine.memory(),
        runs_bundles: onnxruntime.is_some(),
        onnxruntime,
        nvidia,
        runs_engines: (!is_elsewhere).then(|| doctor_tensorrt::runs_engines(&tensorrt)),
        tensorrt,
        kept_kernels: if is_elsewhere { None } else { doctor_tensorrt::kernels() },
        board: BoardReport::of(machine),
        missing,
    }
}

/// The library of ONNX Runtime, unless it is missing.
#[cfg(feature = "ort")]
fn find_onnxruntime(missing: &mut Vec<Missing>) -> Option<OnnxRuntime> {
    match cumo_runtime::backends::ort::find_library() {
        Ok(library) => {
            Some(OnnxRuntime { path: library.path.display().to_string(), version: library.version })
        }
        Err(error) => {
            missing.push(Missing {
                what: error.to_string().lines().next().unwrap_or_default().to_owned(),
                mend: "pip download --no-deps --only-binary=:all: --python-version 3.12 -d ort onnxruntime && python3 -m zipfile -e ort/onnxruntime-*.whl ort && export ORT_DYLIB_PATH=$(ls $PWD/ort/onnxruntime/capi/libonnxruntime.so.*)",
            });
            None
        }
    }
}

/// This program was built without it.
#[cfg(not(feature = "ort"))]
fn find_onnxruntime(_: &mut Vec<Missing>) -> Option<OnnxRuntime> {
    None
}

fn for_people(report: &Report, is_elsewhere: bool) -> String {
    let processor = &report.processor;
    let mut lines = vec![
        format!("cumo          {}", report.version),
        format!(
            "processor     {} ({}), {} cores, {} threads",
            processor.model.as_deref().unwrap_or("unknown"),
            processor.architecture,
            processor.physical_cores,
            processor.logical_cores
        ),
        format!("features      {}", join(&processor.features)),
    ];
    lines.push(match &report.memory {
        None => "memory        unknown".to_owned(),
        Some(memory) => format!(
            "memory        {} of {} available, swap {} of {} free",
            gib(memory.available_bytes),
            gib(memory.total_bytes),
            gib(memory.swap_free_bytes),
            gib(memory.swap_total_bytes)
        ),
    });
    lines.push(match &report.onnxruntime {
        None => "ONNX Runtime  not found".to_owned(),
        Some(library) => format!("ONNX Runtime  {} ({})", library.version, library.path),
    });
    let driver = report.nvidia.driver.as_deref().unwrap_or("none");
    lines.push(format!("NVIDIA driver {driver}"));
    if !report.nvidia.cards.is_empty() {
        lines.push(format!("NVIDIA cards  {}", report.nvidia.cards.join(", ")));
    }
    let libraries: Vec<String> =
        report.nvidia.libraries.iter().map(|path| path.display().to_string()).collect();
    lines.push(format!("NVIDIA files  {}", join(&libraries)));
    if !is_elsewhere {
        lines.extend(doctor_tensorrt::for_people(&report.tensorrt));
    }
    lines.extend(report.kept_kernels.as_ref().map(KernelsReport::for_people));
    lines.extend(report.board.lines());
    for advice in report.board.advice() {
        lines.push(format!("\n{advice}"));
    }
    for missing in &report.missing {
        lines.push(format!("\nmissing: {}\nmended by: {}", missing.what, missing.mend));
    }
    lines.push(format!("\n{}", bundles_verdict(report)));
    lines.push(match report.runs_engines {
        None => "Engines: TensorRT is not looked for with --root.".to_owned(),
        Some(_) => doctor_tensorrt::verdict(&report.tensorrt),
    });
    lines.join("\n")
}

fn bundles_verdict(report: &Report) -> &'static str {
    match report.runs_bundles {
        true => "Bundles can run, on the CPU.",
        false if cfg!(feature = "ort") => "Bundles cannot run: ONNX Runtime is missing.",
        false => "Bundles cannot run: this program was built without ONNX Runtime.",
    }
}

fn join<T: AsRef<str>>(words: &[T]) -> String {
    match words {
        [] => "none".to_owned(),
        words => words.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(" "),
    }
}

fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / (1_u64 << 30) as f64)
}
