//! TensorRT engines of the goldens on a GPU, against ONNX Runtime on the twin graphs: every call of
//! every graph through image, prefill and decode steps is recorded there and run again on the
//! engine. Not yet seen on a GPU.
//!
//! Without a device the engines are built all the same, and each recorded call must have an engine
//! that takes it; the test says that nothing was run. `CUMO_GPU_ROWS` names a file to which the
//! results are written, for the table of `cargo xtask gpu`: a line each, `name|result|figure`.
#![allow(clippy::unwrap_used, reason = "test code")]

mod recorder;
mod replay;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use cumo_bundle::{AspectRatio, Bundle, Engines, Target};
use cumo_export::engine::{EngineInput, EngineOptions, Silent, Sizes, WeightsPlace, build_engines};
use cumo_export::{FloatType, MoeKind};
use cumo_runtime::backends::ort::{OrtBackend, OrtOptions};
use cumo_runtime::{Executor, Position};
use cumo_standin::Settings;
use cumo_tensorrt::{DeviceInfo, Error, Flavour, Library, LibraryPlaces, Runtime};
use cumo_tests::{EngineFolder, Exported, Golden, Tolerances, onnxruntime_is_there, stand_in};

use recorder::{Call, Recorder};
use replay::{engine_of, replay};

/// Positions of the cache: more than one rung, and more than every golden's prompt.
const CONTEXT: usize = 256;

/// Tokens behind each prompt.
const STEPS: usize = 4;

/// A TensorRT that builds, its device if there is one, and the plugin for it.
struct Toolkit {
    library: Library,
    places: LibraryPlaces,
    device: Option<DeviceInfo>,
    plugin: PathBuf,
}

/// Whether TensorRT is there; says that the test is skipped where it is not. A full TensorRT counts
/// where it has a device, TensorRT-RTX in any case.
fn toolkit() -> Option<Toolkit> {
    let full = [Flavour::V11, Flavour::V10].into_iter().find_map(|flavour| {
        Library::open(flavour).ok().filter(|it| it.can_build() && it.devices().is_ok())
    });
    let library = match full.map_or_else(|| Library::open(Flavour::Rtx), Ok) {
        Ok(library) => library,
        Err(error) => {
            let message = "skipped: run `cargo xtask setup --tensorrt` and `cargo xtask native`";
            assert!(std::env::var_os("CUMO_REQUIRE_TENSORRT").is_none(), "{message}: {error}");
            say(&format!("{message}: {error}"));
            row("engines", "skipped", &error.to_string().replace('\n', "; "));
            return None;
        }
    };
    let device = library.devices().ok().and_then(|devices| devices.into_iter().next());
    // Beside the shim, where that is named.
    let built = match variable("CUMO_TRT_SHIM") {
        Some(shim) => shim.join("../plugin"),
        None => target_folder().join("native-build/plugin"),
    };
    // Where nothing runs, the plugin over the kernels' emulation builds the same engines.
    let names = [library.flavour().name().to_owned(), format!("emulated/{}", library.flavour())];
    let named = variable("CUMO_TRT_PLUGIN");
    let built = names.iter().map(|name| built.join(name).join("libcumo_plugin.so"));
    let plugin = named.into_iter().chain(built).find(|file| file.is_file());
    let places = LibraryPlaces::default();
    Some(Toolkit {
        library,
        places,
        device,
        plugin: plugin.expect("the plugin is built with the shim"),
    })
}

/// The path that a variable names; none where it is empty.
fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// The build folder, of which tests are in `debug/deps`.
fn target_folder() -> PathBuf {
    std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_owned()
}

/// Says something past the harness, which keeps what passing tests print.
#[allow(clippy::explicit_write, reason = "the harness keeps what passing tests print")]
fn say(text: &str) {
    use std::io::Write;
    writeln!(std::io::stderr(), "{text}").unwrap();
}

/// Adds a row to the table of `cargo xtask gpu`.
fn row(name: &str, result: &str, figure: &str) {
    let Some(path) = std::env::var_os("CUMO_GPU_ROWS") else { return };
    use std::io::Write;
    let mut file = fs::File::options().append(true).create(true).open(path).unwrap();
    writeln!(file, "{name}|{result}|{}", figure.replace(['|', '\n'], " ")).unwrap();
}

/// Runs a golden on ONNX Runtime: its first image, each prompt, and some steps behind it.
fn record(golden: &Golden, bundle: &Path) -> Vec<Call> {
    let bundle = Bundle::open(bundle).unwrap();
    let files = bundle.manifest.files.keys().cloned().collect();
    let backend = OrtBackend::new(OrtOptions::default(), files).unwrap();
    let calls = Rc::new(RefCell::new(Vec::new()));
    let mut executor =
        Executor::new(&bundle, Box::new(Recorder::new(backend, calls.clone()))).unwrap();
    let mode = match bundle.manifest.model.image.aspect_ratio {
        AspectRatio::Pad => "pad",
        AspectRatio::Crop => "crop",
    };
    let image = &golden.images()[0];
    let pixels = golden.tensor(&format!("pixel_values.{mode}.{image}"));
    let images = executor.encode_images(&pixels.values).unwrap();
    executor.reserve(CONTEXT, CONTEXT).unwrap();
    let image_tokens = bundle.manifest.model.vision.image_tokens;
    for prompt in golden.prompts.values() {
        let mut positions = Vec::new();
        for id in &prompt.input_ids {
            match u32::try_from(*id) {
                Ok(id) => positions.push(Position::Token(id)),
                Err(_) => {
                    positions.extend((0..image_tokens).map(|row| Position::Image { image: 0, row }))
                }
            }
        }
        executor.truncate(0).unwrap();
        executor.forward(&positions, &images).unwrap();
        for token in prompt.greedy_tokens.iter().take(STEPS) {
            executor.forward(&[Position::Token(*token)], &[]).unwrap();
        }
    }
    drop(executor);
    Rc::try_unwrap(calls).unwrap().into_inner()
}

/// Builds a golden's engines.
fn build(bundle: &Path, folder: &Path, toolkit: &Toolkit) -> Engines {
    let options = EngineOptions {
        input: EngineInput::Bundle(bundle.to_owned()),
        output: folder.join("engines"),
        target: Target::Tensorrt,
        flavour: Some(toolkit.library.flavour()),
        libraries: toolkit.places.clone(),
        sizes: Sizes {
            max_images: Some(1),
            batch: Some(1),
            max_prompt: Some(CONTEXT),
            max_context: Some(CONTEXT),
        },
        workspace_bytes: None,
        timing_cache: None,
        devices: Vec::new(),
        constant_weights: false,
        constant_layers: None,
        moe: None,
        plugin: Some(toolkit.plugin.clone()),
        weights_place: WeightsPlace::Link,
        cache: None,
        force: false,
    };
    build_engines(&options, &Silent).unwrap();
    Engines::open(&options.output).unwrap()
}

/// Runs what was recorded on the engines; gives what is wrong.
fn check(
    golden: &Golden,
    toolkit: &Toolkit,
    device: &DeviceInfo,
    engines: &Engines,
    calls: &BTreeMap<&str, Vec<&Call>>,
) -> Vec<String> {
    let runtime = Runtime::new(&toolkit.library, device.ordinal).unwrap();
    let limit = Tolerances::read().f16;
    let capability = u32::try_from(device.compute_capability).unwrap();
    let is_for = engines.manifest.tensorrt.is_for(capability);
    let mut faults = Vec::new();
    for entry in &engines.manifest.engines {
        let name = format!("{} {}", golden.name, entry.file.trim_end_matches(".engine"));
        let Some(calls) = calls.get(entry.file.as_str()) else {
            row(&name, "not run", "no prompt needs it");
            continue;
        };
        let bytes = engines.read(entry).unwrap();
        match replay(&runtime, &bytes, calls, limit) {
            Ok(outcome) => {
                let result = if outcome.faults.is_empty() { "held" } else { "FAILED" };
                let said = entry.figures.activation_bytes;
                let figure = format!(
                    "{} calls, error {:.1e} of at most {limit:.0e}, {:.4} ms, activations {} B \
                     (the builder said {})",
                    outcome.calls,
                    outcome.error,
                    outcome.milliseconds,
                    outcome.activation_bytes,
                    said.map_or_else(|| "nothing".to_owned(), |bytes| format!("{bytes} B")),
                );
                row(&name, result, &figure);
                faults.extend(outcome.faults.iter().map(|fault| format!("{name}: {fault}")));
            }
            Err(Error::WrongEngine { reason }) if !is_for => {
                row(&name, "skipped", &format!("TensorRT does not run it here: {reason}"));
                say(&format!("skipped: {name} is not for this device: {reason}"));
            }
            Err(error) => {
                row(&name, "FAILED", &error.to_string());
                faults.push(format!("{name}: {error}"));
            }
        }
    }
    faults
}

#[test]
fn engines_compute_what_onnx_runtime_does_on_their_twins() {
    let Some(toolkit) = toolkit() else { return };
    // For what runs: builders load it themselves.
    toolkit.library.load_plugins(&toolkit.plugin).unwrap();
    onnxruntime_is_there();
    let mut faults = Vec::new();
    for golden in Golden::all() {
        let exported =
            Exported::new(&golden, Target::Tensorrt, FloatType::F16, Some(MoeKind::Plugin));
        let folder = tempfile::tempdir().unwrap();
        let engines = build(&exported.path(), folder.path(), &toolkit);
        let calls = record(&golden, &exported.path());
        let mut of_engine: BTreeMap<&str, Vec<&Call>> = BTreeMap::new();
        for call in &calls {
            let engine = engine_of(&engines, call);
            let engine = engine.unwrap_or_else(|| panic!("{}: no engine for it", call.graph));
            of_engine.entry(&engine.file).or_default().push(call);
        }
        let graphs = engines.manifest.bundle.graphs.keys();
        let unused: Vec<_> =
            graphs.filter(|graph| !calls.iter().any(|call| call.graph == **graph)).collect();
        assert!(unused.is_empty(), "{}: {unused:?} never ran", golden.name);
        match &toolkit.device {
            Some(device) => faults.extend(check(&golden, &toolkit, device, &engines, &of_engine)),
            None => {
                let built = engines.manifest.engines.len();
                let message = format!("{built} engines built, {} calls recorded", calls.len());
                row(
                    &format!("{} engines", golden.name),
                    "skipped",
                    &format!("no device; {message}"),
                );
                say(&format!("skipped: no device to run engines on; {}: {message}", golden.name));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn engines_of_the_stand_in_compute_what_onnx_runtime_does() {
    onnxruntime_is_there();
    let (stand_in, places, _folder) = stand_in(&Settings::default());
    let library = Library::open_at(Flavour::Rtx, &places).unwrap();
    library.load_plugins(&stand_in.plugin()).unwrap();
    let runtime = Runtime::new(&library, 0).unwrap();
    // The same operators, on another number of threads: sums in another order, rounded to f16.
    let limit = Tolerances::read().f16;
    for golden in Golden::all() {
        let sizes = Sizes {
            max_images: Some(1),
            batch: Some(1),
            max_prompt: Some(CONTEXT),
            max_context: Some(CONTEXT),
        };
        let folder = EngineFolder::of(&golden, MoeKind::Plugin, sizes);
        let engines = Engines::open(&folder.path()).unwrap();
        let calls = record(&golden, &folder.bundle());
        let mut of_engine: BTreeMap<&str, Vec<&Call>> = BTreeMap::new();
        for call in &calls {
            let engine = engine_of(&engines, call).unwrap();
            of_engine.entry(&engine.file).or_default().push(call);
        }
        for (file, calls) in of_engine {
            let entry = engines.manifest.engines.iter().find(|it| it.file == file).unwrap();
            let outcome = replay(&runtime, &engines.read(entry).unwrap(), &calls, limit).unwrap();
            assert_eq!(outcome.faults, [""; 0], "{} {file}", golden.name);
        }
    }
    drop((runtime, library));
    assert_eq!(stand_in.violations(), [""; 0]);
    let summary = stand_in.summary().unwrap();
    assert!(summary.executions > 100, "{summary:?}");
}
