//! One mixture of experts at CLIP-L's sizes through TensorRT engines, in f16, at one image of ten
//! crops: our plugin against the dense form, and against the card's tensor cores. Not yet seen on a
//! GPU.
//!
//! `cargo xtask bench moe_engine [--rows N] [--runs N] [--tensor-tflops N]`; `cargo xtask gpu` runs
//! it. Routing is not in the engines: it is the same in both. Times are medians of CUDA events,
//! warm, the engines in turns. The share is of `--tensor-tflops`, the card's f16 rate, which
//! `device_test` prints; without it, it is not computed. Where there is no device, the engines are
//! built, and nothing more is said of them. Fails where the results differ, and, where 5,770 rows
//! are timed, beyond the aims.
#![allow(clippy::print_stdout, reason = "a command-line program")]

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use cumo_benches::moe_engine::{Aims, Arguments, Comparison, FORMS, Figures, build, compare};
use cumo_bundle::{TensorrtFacts, TensorrtFlavour};
use cumo_export::moe::MoeShape;
use cumo_onnx::DType;
use cumo_tensorrt::{DeviceInfo, Flavour, Library, Runtime};
use cumo_tests::Tolerances;

/// A mixture of CuMo's tower: CLIP ViT-L's width and the width of its MLPs.
const SHAPE: MoeShape = cumo_benches::clip_l(DType::F16);

fn main() -> Result<()> {
    let arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let arguments = Arguments::parse(arguments)?;
    let rows = arguments.rows;
    let name = format!("mixture as an engine, {rows} rows");
    let library = match library() {
        Ok(library) => library,
        Err(error) => return row(&name, "skipped", &format!("{error:#}")),
    };
    let mut built = format!("TensorRT {} {}", library.flavour(), library.version());
    let mut engines: [Vec<u8>; 2] = Default::default();
    for (form, engine) in FORMS.iter().zip(&mut engines) {
        let start = Instant::now();
        *engine = build(&library, *form, &SHAPE, rows)?;
        let (kilobytes, seconds) = (engine.len() / 1000, start.elapsed().as_secs_f64());
        write!(built, ", {} of {kilobytes} kB in {seconds:.2} s", form.name())?;
    }
    let device = match library.devices().map(|devices| devices.into_iter().next()) {
        Ok(Some(device)) => device,
        Ok(None) => return row(&name, "not run", &format!("built: {built}; no device")),
        Err(error) => return row(&name, "not run", &format!("built: {built}; {error}")),
    };
    println!("{built}");
    let runtime = Runtime::new(&library, device.ordinal)?;
    let compared = compare(&runtime, &engines, &SHAPE, rows, arguments.runs);
    let Comparison { times, difference } = match compared {
        Err(error) if is_not_for(&library, &device) && is_refused(&error) => {
            let text = format!("built: {built}; TensorRT does not run it here: {error:#}");
            return row(&name, "skipped", &text);
        }
        compared => compared?,
    };
    let [plugin, dense] = times.map(|times| times.median_ms());
    let figures = Figures::new(&SHAPE, rows, [plugin, dense], arguments.tensor_tflops);
    let limit = Tolerances::read().f16;
    let faults = Aims::of(rows).faults(&figures, f64::from(difference), limit);
    let text = format!("{figures}, difference {difference:.1e}");
    if faults.is_empty() {
        return row(&name, "held", &text);
    }
    let faults = faults.join("; ");
    row(&name, "FAILED", &format!("{text}: {faults}"))?;
    bail!("{faults}");
}

/// A TensorRT that builds, with our plugin: a full one where it has a device, else TensorRT-RTX.
fn library() -> Result<Library> {
    let full = [Flavour::V11, Flavour::V10].into_iter().find_map(|flavour| {
        Library::open(flavour).ok().filter(|it| it.can_build() && it.devices().is_ok())
    });
    let library = full.map_or_else(|| Library::open(Flavour::Rtx), Ok)?;
    library.load_own_plugins(None)?;
    Ok(library)
}

/// Whether the engines are for other devices: TensorRT-RTX builds for some, another TensorRT for the
/// one that is there.
fn is_not_for(library: &Library, device: &DeviceInfo) -> bool {
    let facts = TensorrtFacts {
        flavour: TensorrtFlavour::Rtx,
        version: library.version(),
        compute_capabilities: Vec::new(),
    };
    let capability = u32::try_from(device.compute_capability).unwrap_or_default();
    library.flavour() == Flavour::Rtx && !facts.is_for(capability)
}

/// Whether TensorRT would not have an engine.
fn is_refused(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(cumo_tensorrt::Error::WrongEngine { .. }))
}

/// Prints a result, and adds it to the table of `cargo xtask gpu` where that asks for it.
fn row(name: &str, result: &str, figure: &str) -> Result<()> {
    println!("{name}: {result}: {figure}");
    let Some(path) = std::env::var_os("CUMO_GPU_ROWS") else { return Ok(()) };
    let file = File::options().append(true).create(true).open(&path);
    let mut file = file.with_context(|| format!("cannot open {}", path.display()))?;
    writeln!(file, "{name}|{result}|{}", figure.replace(['|', '\n'], " "))?;
    Ok(())
}
