//! `cumo-export engine` on the real TensorRT-RTX builder: what it makes of goldens and of the
//! published models' shapes, what it takes again, and what it says where something does not fit.
//!
//! The tests need the shim and the plugin (`cargo xtask native`) and TensorRT-RTX (`cargo xtask
//! setup --tensorrt`); where these are absent each says that it was skipped, unless
//! CUMO_REQUIRE_TENSORRT is set.

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
        let EngineFigures { activation_bytes, persistent_bytes, weights_bytes, .. } =
            engine.figures;
        let figures = [activation_bytes, persistent_bytes, weights_bytes];
        assert!(figures.iter().all(Option::is_some), "{file}: {figures:?}");
    }
    let rungs: Vec<_> = manifest
        .engines
        .iter()
        .filter(|engine| engine.graph == "decoder_layer" && engine.pass == Pass::Decode)
        .map(|engine| engine.attended)
        .collect();
    let ladder: Vec<_> = manifest.limits.attended.iter().copied().map(Some).collect();
    assert_eq!(rungs, ladder);
}

#[test]
fn every_engine_of_the_goldens_is_built_with_plugins_or_functions() {
    if !tensorrt() {
        return;
    }
    for (name, tower, decoder) in
        [("mistral-moe", 1, 0), ("mixtral-moe", 1, 1), ("mistral-dense", 0, 0)]
    {
        for (moe, nodes) in [("plugin", 1), ("function", 0)] {
            let folder = tempfile::tempdir().unwrap();
            let bundle = bundle(name, folder.path(), &["--moe", moe]);
            let small = ["--max-context", "256", "--max-prompt", "64", "--max-images", "2"];
            let engines = built(&bundle, &folder.path().join("engines"), &small);
            let manifest = &engines.manifest;
            check_engines(&engines);
            assert_eq!(manifest.limits.attended, [64, 128, 256], "{name}");
            assert_eq!(plugin_nodes(manifest, "vision_layer"), [tower * nodes], "{name} {moe}");
            assert_eq!(plugin_nodes(manifest, "connector"), [tower * nodes], "{name} {moe}");
            let layers = plugin_nodes(manifest, "decoder_layer");
            assert_eq!(layers, [decoder * nodes; 4], "{name} {moe}");
            assert_eq!(manifest.plugin.is_some(), tower * nodes > 0, "{name} {moe}");
            assert_eq!(manifest.weights_files, WeightsFiles::Link);
        }
    }
}

/// What [`check_engines`] finds none of.
#[test]
fn a_product_in_f32_is_seen_in_what_was_compiled() {
    if !tensorrt() {
        return;
    }
    let library = Library::open(Flavour::Rtx).unwrap();
    for (dtype, name) in [(DType::F16, "f16"), (DType::F32, "f32")] {
        let mut graph = GraphBuilder::new();
        let x = graph.input("x", dtype, dims![256, 128]).unwrap();
        let w = graph.input("w", dtype, dims![128, 256]).unwrap();
        let y = graph.matmul(&x, &w).unwrap();
        graph.output("y", &y, dtype, dims![256, 256]).unwrap();
        let model = graph.finish().encode("product", "product.data", ("test", "1"));
        let mut network = Builder::new(&library).parse(&model, None).unwrap();
        let engine = network.build(&BuildOptions::new()).unwrap().engine;
        let program = CompiledProgram::read(engine.as_slice()).unwrap();
        assert_eq!(program.products, [(name.to_owned(), 1)].into(), "{program:?}");
    }
}

/// Why graphs for TensorRT have their weights `[out, in]`: a row times a matrix `[in, out]` transposes
/// it in every run.
#[test]
fn a_weight_that_every_run_copies_is_seen_in_what_was_compiled() {
    if !tensorrt() {
        return;
    }
    let library = Library::open(Flavour::Rtx).unwrap();
    for (sizes, copied) in [([512, 1024], &["w"][..]), ([1024, 512], &[])] {
        let mut graph = GraphBuilder::new();
        let x = graph.input("x", DType::F16, dims![1, 512]).unwrap();
        let w = graph.input("w", DType::F16, sizes).unwrap();
        let y = match sizes {
            [512, _] => graph.matmul(&x, &w).unwrap(),
            _ => graph.matmul_transposed(&x, &w).unwrap(),
        };
        graph.output("y", &y, DType::F16, dims![1, 1024]).unwrap();
        let model = graph.finish().encode("product", "product.data", ("test", "1"));
        let mut network = Builder::new(&library).parse(&model, None).unwrap();
        let engine = network.build(&BuildOptions::new()).unwrap().engine;
        let program = CompiledProgram::read(engine.as_slice()).unwrap();
        assert!(program.copied.iter().eq(copied), "{program:?}");
    }
}

#[test]
fn every_engine_of_the_sample_is_built_with_plugins_or_functions() {
    if !tensorrt() {
        return;
    }
    let checkpoint = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/shapes/checkpoint");
    for (moe, nodes) in [("plugin", 1), ("function", 0)] {
        let folder = tempfile::tempdir().unwrap();
        let bundle = folder.path().join("bundle");
        let result = export(&checkpoint, &bundle, &["--target", "tensorrt", "--moe", moe]);
        assert!(result.status.success(), "{}", stderr(&result));
        let engines = built(&bundle, &folder.path().join("engines"), &[]);
        check_engines(&engines);
        for graph in ["vision_layer", "connector"] {
            assert_eq!(plugin_nodes(&engines.manifest, graph), [nodes], "{graph} {moe}");
        }
    }
}

/// The published models: every engine within 512 MiB and 60 s, without weights.
#[test]
fn engines_of_real_shapes_need_little_memory_and_time() {
    if !tensorrt() {
        return;
    }
    let all: &[&str] = &["--max-context", "32768", "--max-images", "4", "--batch", "2"];
    // Decoding takes 8 MB of scratch for products' kernels, a row of every tensor between them, and the
    // part of the cache that is attended to; with `--moe function` products of all experts run side
    // by side.
    for (model, moe, decoder, sizes, rungs, decoding) in [
        ("cumo-mistral-7b", "plugin", 0, &[][..], 4, 16 << 20),
        ("cumo-mistral-7b", "plugin", 0, all, 7, 64 << 20),
        ("cumo-mixtral-8x7b", "plugin", 1, &[], 4, 16 << 20),
        ("cumo-mixtral-8x7b", "function", 0, &[], 4, 128 << 20),
        ("cumo-mixtral-8x7b", "plugin", 1, all, 7, 64 << 20),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("engines");
        let arguments = [&["--shapes-only", "--json", "--moe", moe], sizes].concat();
        let result = engine(&shapes(model), &output, &arguments);
        assert!(result.status.success(), "{}", stderr(&result));
        let summary: serde_json::Value = serde_json::from_slice(&result.stdout).unwrap();
        let peak = summary["peak_memory_bytes"].as_u64().unwrap();
        assert!(peak <= 512 << 20, "{model}: {peak} bytes");
        // Not of the clock on the wall: other tests run meanwhile.
        let seconds = summary["processor_seconds"].as_f64().unwrap();
        assert!(seconds > 0.0 && seconds <= 60.0, "{model}: {seconds} s of processor time");
        let engines = Engines::open(&output).unwrap();
        check_engines(&engines);
        let decodes = |it: &&cumo_bundle::EngineEntry| {
            it.pass == Pass::Decode && it.attended.is_none_or(|rung| rung <= 4096)
        };
        for engine in engines.manifest.engines.iter().filter(decodes) {
            let bytes = engine.figures.activation_bytes.unwrap();
            assert!(bytes <= decoding, "{model} {moe}: {} takes {bytes} bytes", engine.file);
        }
        let ladder = &engines.manifest.limits.attended;
        assert_eq!(*ladder, [512, 1024, 2048, 4096, 8192, 16384, 32768][..rungs]);
        assert_eq!(plugin_nodes(&engines.manifest, "decoder_layer"), vec![decoder; rungs + 1]);
        assert_eq!(engines.manifest.weights_files, WeightsFiles::Absent);
        let machine = cumo_bundle::Machine {
            flavour: cumo_bundle::TensorrtFlavour::Rtx,
            version: &engines.manifest.tensorrt.version,
            compute_capability: Some(86),
            plugin_layout: engines.manifest.plugin.as_ref().map(|plugin| plugin.layout_version),
        };
        let message = engines.check_machine(&machine).unwrap_err().to_string();
        assert!(message.contains("shapes alone"), "{message}");
    }
}

#[test]
fn what_was_built_of_the_same_inputs_is_not_built_again() {
    if !tensorrt() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let bundle = bundle("mistral-dense", folder.path(), &[]);
    let (output, cache) = (folder.path().join("engines"), folder.path().join("cache"));
    let run = |arguments: &[&str]| {
        let small = ["--max-context", "128", "--max-prompt", "32", "--json"];
        let result = engine(&bundle, &output, &[&small, arguments].concat());
        assert!(result.status.success(), "{}", stderr(&result));
        let summary: serde_json::Value = serde_json::from_slice(&result.stdout).unwrap();
        let count = |key: &str| summary[key].as_u64().unwrap();
        (count("built"), count("reused"))
    };
    let (all, none) = run(&["--cache", cache.to_str().unwrap()]);
    assert_eq!(none, 0);
    assert_eq!(run(&["--force"]), (0, all));

    // Other options give other engines, and so does a file that was altered.
    assert_eq!(run(&["--force", "--workspace", "64"]), (all, 0));
    let engine = output.join("head.decode.engine");
    let mut bytes = fs::read(&engine).unwrap();
    bytes[1000] ^= 1;
    fs::write(&engine, bytes).unwrap();
    assert_eq!(run(&["--force", "--workspace", "64"]), (1, all - 1));

    // The folder that keeps them has the first ones still.
    fs::remove_dir_all(&output).unwrap();
    assert_eq!(run(&["--cache", cache.to_str().unwrap()]), (0, all));
    assert_eq!(names(&cache).len() as u64, 2 * all);
}

#[test]
fn constant_weights_and_devices_are_built_and_explained() {
    if !tensorrt() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("engines");
    let small = ["--max-context", "64", "--max-prompt", "16", "--device", "8.6,8.9"];
    // Of a checkpoint: the bundle is made beside the engines.
    let constant = [&small[..], &["--weights", "const", "--layers", "2"]].concat();
    let engines = built(&golden("mixtral-moe"), &output, &constant);
    assert_eq!(names(folder.path()), ["engines", "engines.bundle"]);
    assert_eq!(engines.manifest.weights_files, WeightsFiles::Engines);
    let phases = ["images", "embed", "llm"].map(|graph| plugin_nodes(&engines.manifest, graph));
    assert_eq!(phases, [vec![3], vec![0, 0], vec![2, 2]], "two layers and the connector");
    assert_eq!(engines.manifest.bundle.plan.cache.len(), 4);

    let explained = cumo_export().arg("engine").arg("--explain").arg(&output).output().unwrap();
    let text = String::from_utf8(explained.stdout).unwrap();
    for part in [
        "for compute capability 8.6, 8.9",
        "CumoMoE version 1, layout 1",
        "llm.decode.64.engine",
        "before TensorRT fused its layers",
        "updated in place by plan and networks, in the compiled engines too",
        "of activations at most",
        "no run copies a weight",
        "no matrix product in f32",
        "in the engines",
    ] {
        assert!(text.contains(part), "{part} not in\n{text}");
    }

    let engine = output.join("llm.prefill.engine");
    let mut bytes = fs::read(&engine).unwrap();
    let place = bytes.len() / 2;
    bytes[place] ^= 1;
    fs::write(&engine, bytes).unwrap();
    let explained = cumo_export().arg("engine").arg("--explain").arg(&output).output().unwrap();
    let message = stderr(&explained);
    assert!(message.contains("`llm.prefill.engine` was altered"), "{message}");
}

#[test]
fn sizes_that_do_not_fit_say_what_does() {
    if !tensorrt() {
        return;
    }
    let shapes = shapes("cumo-mistral-7b");
    let message = |arguments: &[&str]| refused(&shapes, &[&["--shapes-only"], arguments].concat());
    let prompt = message(&["--max-prompt", "5000"]);
    assert!(
        prompt.contains(
            "--max-prompt 5000: a prompt must fit into the cache, which has 4096 positions"
        ),
        "{prompt}"
    );
    let context = message(&["--max-context", "40000"]);
    assert!(context.contains("--max-context 40000: the model has 32768 positions"), "{context}");
    let images = message(&["--max-images", "0"]);
    assert!(images.contains("--max-images 0: it must be 1 to 65535"), "{images}");
    let layers = message(&["--layers", "2"]);
    assert!(layers.contains("--layers is for --weights const"), "{layers}");
}

#[test]
fn bundles_of_other_targets_and_forms_are_refused() {
    if !tensorrt() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let portable = folder.path().join("portable");
    assert!(export(&golden("mistral-moe"), &portable, &[]).status.success());
    let message = refused(&portable, &[]);
    assert!(message.contains("a bundle of target onnx"), "{message}");
    assert!(message.contains("--target tensorrt"), "{message}");

    let bundle = bundle("mistral-moe", folder.path(), &[]);
    let message = refused(&bundle, &["--moe", "function"]);
    assert!(message.contains("hold experts as plugin, and --moe function"), "{message}");
    let message = refused(&bundle, &["--plugin", "/nonexistent/libcumo_plugin.so"]);
    assert!(message.contains("/nonexistent/libcumo_plugin.so: No such file"), "{message}");
    let message = refused(&bundle, &["--device", "8.6,8.7"]);
    assert!(message.contains(": --device: TensorRT-RTX cannot build for"), "{message}");
    assert!(message.contains("compute capability 8.7 ahead of time; it can for 7.5"), "{message}");
    let message = refused(&bundle, &["--workspace", "1"]);
    assert!(message.contains("The limit is that of --workspace"), "{message}");
    let message = refused(&bundle, &["--device", "8.6,7.5"]);
    let says = "CumoMoE nodes, whose kernels need compute capability 8.0 or later, not 7.5";
    assert!(message.contains(says) && message.contains("--moe function"), "{message}");
    assert!(!message.contains("built before") && !message.contains(" s\n"), "{message}");
    let output = engine(&bundle, &folder.path().join("engines"), &["--device", "8.6.1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("such as 8.6"), "{}", stderr(&output));
}

/// Puts bytes in the place of one of a bundle's graphs, hash and all.
fn replace_graph(bundle: &Path, file: &str, bytes: &[u8]) {
    fs::write(bundle.join(file), bytes).unwrap();
    let mut manifest = cumo_bundle::Bundle::read_manifest(bundle).unwrap();
    let sha256 = cumo_bundle::hash_reader(bytes, |_| ()).unwrap();
    let bytes = bytes.len() as u64;
    manifest.files.insert(file.to_owned(), cumo_bundle::FileEntry { bytes, sha256 });
    let text = serde_json::to_vec(&manifest).unwrap();
    fs::write(bundle.join("manifest.json"), text).unwrap();
}

#[test]
fn an_unsupported_operator_is_named_with_its_node_and_part() {
    if !tensorrt() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let bundle = bundle("mistral-dense", folder.path(), &[]);
    let model = fs::read(bundle.join("head.onnx")).unwrap();
    // An operator that there is not, of a name as long as the real one's.
    let mut other = model.clone();
    let places = (0..model.len() - 4).filter(|at| &model[*at..*at + 4] == b"Gemm");
    places.for_each(|at| other[at..at + 4].copy_from_slice(b"Gemn"));
    assert!(other != model, "there is no Gemm");
    replace_graph(&bundle, "head.onnx", &other);
    let message = refused(&bundle, &["--max-context", "64"]);
    for part in ["graph `head` of part `llm`", "operator Gemn, node `Gemn:node`"] {
        assert!(message.contains(part), "{part} not in {message}");
    }

    fs::write(bundle.join("head.onnx"), &model[..model.len() - 1]).unwrap();
    let message = refused(&bundle, &[]);
    assert!(
        message.contains("`head.onnx` has") && message.contains("the manifest says"),
        "{message}"
    );
    replace_graph(&bundle, "head.onnx", b"no model");
    let message = refused(&bundle, &["--max-context", "64"]);
    assert!(message.contains("not an ONNX model"), "{message}");
}

#[test]
fn missing_libraries_drivers_and_plugins_say_how_to_get_them() {
    if !tensorrt() {
        return;
    }
    let shapes = shapes("cumo-mistral-7b");
    let missing = |variable: &str, value: &Path, arguments: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let mut command = cumo_export();
        command.arg("engine").arg(&shapes).arg("--shapes-only").arg("-o");
        command.arg(folder.path().join("engines")).args(arguments);
        let output = command.env(variable, value).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(names(folder.path()).is_empty());
        stderr(&output)
    };
    let library = missing("CUMO_TRT_LIBRARY", Path::new("/nonexistent"), &[]);
    for part in ["/nonexistent/libtensorrt_rtx.so.1", "cargo xtask setup --tensorrt"] {
        assert!(library.contains(part), "{part} not in {library}");
    }
    let shim = missing("CUMO_TRT_SHIM", Path::new("/nonexistent"), &[]);
    assert!(shim.contains("cargo xtask native"), "{shim}");
    // No plugin beside a copy of the program, nor beside a copy of the shim.
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("cumo-export");
    fs::copy(env!("CARGO_BIN_EXE_cumo-export"), &program).unwrap();
    let library = Library::open(Flavour::Rtx).unwrap();
    let built = Path::new(env!("CARGO_BIN_EXE_cumo-export")).with_file_name("../native-build/shim");
    let shim = folder.path().join("native/shim");
    fs::create_dir_all(&shim).unwrap();
    let name = "libcumo_trt_rtx.so";
    fs::copy(built.join(name), shim.join(name)).unwrap();
    let mut command = std::process::Command::new(&program);
    command
        .arg("engine")
        .arg(&shapes)
        .arg("--shapes-only")
        .arg("-o")
        .arg(folder.path().join("out"));
    command.env("CUMO_TRT_SHIM", shim).env("CUMO_TRT_LIBRARY", library.path().parent().unwrap());
    let message = stderr(&command.output().unwrap());
    let beside_shim = "native/shim/../plugin/rtx/libcumo_plugin.so";
    for part in ["the plugin was not found", "--plugin", "--moe function", beside_shim] {
        assert!(message.contains(part), "{part} not in {message}");
    }
    // TensorRT 11 needs the device that it builds for; here is its lean runtime at most.
    if library.devices().is_err() {
        let lean = library.path().parent().unwrap().with_file_name("tensorrt-lean-11");
        let message = missing("CUMO_TRT_LIBRARY", &lean, &["--flavour", "11"]);
        assert!(message.contains("TensorRT"), "{message}");
        let says = ["driver", "device", "libcumo_trt_11.so", "libnvinfer"];
        assert!(says.iter().any(|part| message.contains(part)), "{message}");
    }
}

#[test]
fn folders_that_exist_are_kept_unless_they_hold_engines_and_force_is_given() {
    if !tensorrt() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("engines");
    fs::create_dir(&output).unwrap();
    fs::write(output.join("mine.txt"), b"mine").unwrap();
    let shapes = shapes("cumo-mistral-7b");
    let message = stderr(&engine(&shapes, &output, &["--shapes-only"]));
    assert!(message.contains("exists; give another folder, or --force"), "{message}");
    let message = stderr(&engine(&shapes, &output, &["--shapes-only", "--force"]));
    assert!(message.contains("holds no engines") && message.contains("not replaced"), "{message}");
    assert_eq!(fs::read(output.join("mine.txt")).unwrap(), b"mine");
}

#[test]
fn a_checkpoint_whose_engines_are_not_built_leaves_no_bundle_in_the_way() {
    if !tensorrt() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("engines");
    let result = engine(&golden("mistral-moe"), &output, &["--workspace", "1"]);
    assert_eq!(result.status.code(), Some(1), "{}", stderr(&result));
    assert!(names(folder.path()).is_empty(), "{:?}", names(folder.path()));
    built(&golden("mistral-moe"), &output, &[]);
    assert_eq!(names(folder.path()), ["engines", "engines.bundle"]);
    // A bundle that was there stays.
    let result = engine(&golden("mistral-moe"), &output, &["--workspace", "1", "--force"]);
    assert_eq!(result.status.code(), Some(1), "{}", stderr(&result));
    assert_eq!(names(folder.path()), ["engines", "engines.bundle"]);
}

#[cfg(unix)]
#[test]
fn an_interrupted_build_leaves_nothing() {
    if !tensorrt() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut interrupted = 0;
    for run in 0..6u64 {
        let mut command = cumo_export();
        command.arg("engine").arg(shapes("cumo-mistral-7b")).arg("--shapes-only").arg("-o");
        command.arg(folder.path().join("engines"));
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
        let child = command.spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(150 + 150 * run));
        let id = child.id().to_string();
        std::process::Command::new("kill").args(["-INT", &id]).status().unwrap();
        let output = child.wait_with_output().unwrap();
        if output.status.code() == Some(130) {
            interrupted += 1;
            assert!(stderr(&output).contains("interrupted; nothing was written"));
            assert!(names(folder.path()).is_empty(), "{:?}", names(folder.path()));
        }
        let _ = fs::remove_dir_all(folder.path().join("engines"));
    }
    assert!(interrupted > 0, "no run was interrupted while it built");
}

/// On a disk of 600 kB, which a user may mount in a namespace of their own.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_named_and_nothing_is_left() {
    if !tensorrt() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=600k none \"$1\" || exit 77\n\
                  \"$2\" engine \"$3\" --shapes-only -o \"$1/engines\"; echo \"code $?\" >&2\n\
                  ls -A \"$1\" >&2";
    let output = std::process::Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .arg(folder.path())
        .arg(env!("CARGO_BIN_EXE_cumo-export"))
        .arg(shapes("cumo-mistral-7b"))
        .output();
    let Some(output) = output.ok().filter(|output| output.status.code() != Some(77)) else {
        skip("this system lets nobody mount a small disk");
        return;
    };
    let message = stderr(&output);
    if message.contains("unshare failed") {
        skip(&message);
        return;
    }
    assert!(message.contains("no space left on this disk; nothing was written"), "{message}");
    assert!(message.ends_with("code 1\n"), "{message}");
}
