//! What engines become: of the goldens, the sample and the published shapes, and again of the same
//! inputs.

use super::*;

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
            assert_eq!(layers, [decoder * nodes; 6], "{name} {moe}");
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
        assert_eq!(plugin_nodes(&engines.manifest, "decoder_layer"), vec![decoder; 2 * rungs]);
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
        "no token copies a cache",
        "no matrix product in f32",
        "in the engines",
    ] {
        assert!(text.contains(part), "{part} not in\n{text}");
    }

    let engine = output.join("llm.prefill.64.engine");
    let mut bytes = fs::read(&engine).unwrap();
    let place = bytes.len() / 2;
    bytes[place] ^= 1;
    fs::write(&engine, bytes).unwrap();
    let explained = cumo_export().arg("engine").arg("--explain").arg(&output).output().unwrap();
    let message = stderr(&explained);
    assert!(message.contains("`llm.prefill.64.engine` was altered"), "{message}");
}
