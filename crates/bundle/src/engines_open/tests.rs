use std::collections::BTreeMap;
use std::fs;

use super::*;
use crate::validate::tests::{layered, layered_by_rung};
use crate::{
    Dim, EngineContents, EngineFigures, EngineLimits, EngineOptions, EnginesWriter, Graph, Phase,
    PluginFacts, ShapeRange, TensorrtFacts, TensorrtFlavour,
};

const HERE: Machine<'static> = Machine {
    flavour: TensorrtFlavour::Rtx,
    version: "1.7.1.116",
    compute_capability: Some(89),
    plugin_layout: Some(1),
};

/// Positions of one prefill call, at most.
const PROMPT: usize = 3;

/// The shapes of a graph's inputs, for one image, one sequence, prompts of [`PROMPT`] positions.
fn profile(
    graph: &Graph,
    pass: Pass,
    rung: Option<usize>,
    limits: &EngineLimits,
) -> BTreeMap<String, ShapeRange> {
    let size = |dim: &Dim| match dim {
        Dim::Fixed(size) => [*size; 2],
        Dim::Symbol(symbol) => match symbol.as_str() {
            names::SEQUENCE if pass == Pass::Decode => [1; 2],
            names::SEQUENCE => [1, limits.max_prompt_at(rung)],
            names::MAX_SEQUENCE => [limits.max_context; 2],
            names::ATTENDED => rung.map_or([16, limits.max_context], |rung| [rung; 2]),
            _ => [1; 2],
        },
    };
    let is_symbol = |dim: &Dim| matches!(dim, Dim::Symbol(_));
    let inputs = graph.inputs.iter().filter(|input| input.shape.iter().any(is_symbol));
    let range = |input: &crate::Value| {
        let [min, max] = [0, 1].map(|at| input.shape.iter().map(|dim| size(dim)[at]).collect());
        (input.name.clone(), ShapeRange { min, opt: Vec::clone(&max), max })
    };
    inputs.map(range).collect()
}

/// Engines of the layered plan of the bundle's tests, whose files hold their own names.
pub(crate) fn manifest() -> EnginesManifest {
    manifest_of(layered())
}

/// Engines of a layered plan.
fn manifest_of(bundle: crate::Manifest) -> EnginesManifest {
    let limits = EngineLimits {
        max_images: 1,
        batch: 1,
        max_prompt: PROMPT,
        max_context: bundle.model.llm.context_length,
        attended: bundle.plan.attended.clone(),
    };
    let mut engines: Vec<EngineEntry> = Vec::new();
    for phase in Phase::ALL {
        for step in bundle.plan.steps(phase) {
            for pass in Pass::of(phase) {
                for rung in limits.rungs(&bundle, &step.graph, *pass) {
                    let file = format!("{}.{}.{rung:?}.engine", step.graph, pass.name());
                    if engines.iter().any(|engine| engine.file == file) {
                        continue;
                    }
                    let profile = profile(&bundle.graphs[&step.graph], *pass, rung, &limits);
                    engines.push(EngineEntry {
                        file,
                        graph: step.graph.clone(),
                        pass: *pass,
                        attended: rung,
                        profile,
                        key: "0".repeat(64),
                        contents: EngineContents::default(),
                        figures: EngineFigures::default(),
                    });
                }
            }
        }
    }
    let tensorrt = TensorrtFacts {
        flavour: TensorrtFlavour::Rtx,
        version: "1.7.1.116".to_owned(),
        compute_capabilities: vec![86, 89],
    };
    let plugin = PluginFacts {
        name: "CumoMoE".to_owned(),
        version: "1".to_owned(),
        layout_version: 1,
        sha256: "0".repeat(64),
    };
    EnginesManifest {
        format: ENGINES_FORMAT.to_owned(),
        format_version: ENGINES_FORMAT_VERSION,
        producer: "test".to_owned(),
        tensorrt,
        plugin: Some(plugin),
        limits,
        options: EngineOptions { workspace_bytes: None, constant_weights: true },
        weights_files: WeightsFiles::Engines,
        engines,
        bundle,
        files: BTreeMap::new(),
    }
}

pub(crate) fn write(manifest: EnginesManifest, folder: &Path) -> Engines {
    let mut writer = EnginesWriter::create(&folder.join("engines"), false).unwrap();
    for engine in &manifest.engines {
        writer.write_bytes(&engine.file, engine.file.as_bytes()).unwrap();
    }
    writer.finish(manifest).unwrap();
    Engines::open(&folder.join("engines")).unwrap()
}

#[test]
fn engines_are_read_back_and_found_by_graph_pass_and_rung() {
    let folder = tempfile::tempdir().unwrap();
    let engines = write(manifest(), folder.path());
    engines.verify(|_| ()).unwrap();
    engines.check_machine(&HERE).unwrap();
    for entry in &engines.manifest.engines {
        let rung = entry.attended.unwrap_or(engines.manifest.limits.max_context);
        let found = engines.engine(&entry.graph, entry.pass, rung).unwrap();
        assert_eq!(found.file, entry.file);
        assert_eq!(engines.read(found).unwrap(), entry.file.as_bytes());
    }
    assert!(engines.engine("nothing", Pass::Decode, 1).is_none());
}

#[test]
fn a_cut_or_altered_engine_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let engines = write(manifest(), folder.path());
    let entry = &engines.manifest.engines[0];
    let path = engines.file(&entry.file);
    let altered = entry.file.to_uppercase();
    fs::write(&path, &altered).unwrap();
    for error in [engines.read(entry).unwrap_err(), engines.verify(|_| ()).unwrap_err()] {
        let message = error.to_string();
        assert!(message.contains(&format!("`{}` was altered", entry.file)), "{message}");
    }
    fs::write(&path, &altered[1..]).unwrap();
    let (have, want) = (altered.len() - 1, altered.len());
    let message = engines.read(entry).unwrap_err().to_string();
    let says = format!("`{}` has {have} bytes, the manifest says {want}", entry.file);
    assert!(message.contains(&says), "{message}");
    let message = Engines::open(&engines.path).unwrap_err().to_string();
    assert!(message.contains(&says), "{message}");
    let other = EngineEntry { file: "other.engine".to_owned(), ..entry.clone() };
    fs::write(engines.file("other.engine"), b"other").unwrap();
    let message = engines.read(&other).unwrap_err().to_string();
    assert!(message.contains("`other.engine` is not among the files"), "{message}");
    // Far more than there is memory for: the size is compared before anything is read.
    fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let message = engines.read(entry).unwrap_err().to_string();
    assert!(message.contains("has 1099511627776 bytes, the manifest says"), "{message}");
    fs::remove_file(&path).unwrap();
    let message = Engines::open(&engines.path).unwrap_err().to_string();
    assert!(message.contains("cannot be read"), "{message}");
}

#[test]
fn another_machine_is_refused_with_every_difference() {
    let folder = tempfile::tempdir().unwrap();
    let engines = write(manifest(), folder.path());
    let refusal = |machine: Machine<'_>| engines.check_machine(&machine).unwrap_err().to_string();
    let cases = [
        (
            Machine { version: "1.8.0.1", ..HERE },
            "they were built by TensorRT-RTX 1.7.1.116, this is 1.8.0.1",
        ),
        (
            Machine { flavour: TensorrtFlavour::V10, ..HERE },
            "they are for TensorRT-RTX, this is TensorRT 10",
        ),
        (
            Machine { compute_capability: Some(120), ..HERE },
            "they are for compute capability 8.6, 8.9, this device has 12.0",
        ),
        (Machine { compute_capability: None, ..HERE }, "there is no NVIDIA device"),
        (
            Machine { plugin_layout: Some(2), ..HERE },
            "they hold CumoMoE in layout 1, the installed plugin reads layout 2",
        ),
        (
            Machine { plugin_layout: None, ..HERE },
            "they need the plugin CumoMoE, which is not installed",
        ),
    ];
    for (machine, says) in cases {
        let message = refusal(machine);
        assert!(message.contains(says), "{says} not in {message}");
        assert!(message.contains("these engines do not run here"), "{message}");
    }
    let mut portable = engines.clone();
    portable.manifest.tensorrt.compute_capabilities.clear();
    for device in [75, 87, 90] {
        let machine = Machine { compute_capability: Some(device), ..HERE };
        let message = portable.check_machine(&machine).unwrap_err().to_string();
        let says = format!(
            "they are for compute capability 8.0, 8.6, 8.9, 12.0 and later, this device has {}.{}",
            device / 10,
            device % 10
        );
        assert!(message.contains(&says), "{says} not in {message}");
    }
    for device in [80, 86, 89, 120, 121] {
        portable.check_machine(&Machine { compute_capability: Some(device), ..HERE }).unwrap();
    }
    let all = refusal(Machine { version: "2", compute_capability: Some(75), ..HERE });
    assert!(all.contains("this is 2") && all.contains("has 7.5"), "{all}");
}

#[test]
fn other_folders_and_versions_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let message = Engines::open(folder.path()).unwrap_err().to_string();
    assert!(message.contains("no (complete) engines"), "{message}");
    let file = folder.path().join(names::MANIFEST_FILE);
    fs::write(&file, br#"{"format": "cumo-bundle", "format_version": 1}"#).unwrap();
    let message = Engines::open(folder.path()).unwrap_err().to_string();
    assert!(message.contains("format `cumo-bundle` version 1"), "{message}");
    fs::write(&file, b"{").unwrap();
    assert!(matches!(Engines::open(folder.path()), Err(Error::Json { .. })));
}

#[test]
fn a_manifest_that_contradicts_itself_is_refused() {
    let problem = |change: &dyn Fn(&mut EnginesManifest)| {
        let mut manifest = manifest();
        for engine in &manifest.engines {
            let entry = crate::FileEntry { bytes: 1, sha256: "0".repeat(64) };
            manifest.files.insert(engine.file.clone(), entry);
        }
        assert_eq!(engines_validate::problems(&manifest), [""; 0]);
        change(&mut manifest);
        engines_validate::problems(&manifest).join("; ")
    };
    let lacking = problem(&|manifest| drop(manifest.engines.pop()));
    assert!(lacking.contains("has 0 engines for decode"), "{lacking}");
    let prompt = problem(&|manifest| manifest.limits.max_prompt = 1 << 40);
    assert!(prompt.contains("limits.max_prompt is 1099511627776"), "{prompt}");
    let graph = problem(&|manifest| manifest.engines[0].graph = "other".to_owned());
    assert!(graph.contains("the bundle has no graph `other`"), "{graph}");
    let place = problem(&|manifest| {
        let entry = crate::FileEntry { bytes: 1, sha256: "0".repeat(64) };
        manifest.files.insert("../outside".to_owned(), entry);
    });
    assert!(place.contains("`../outside` is not a path inside"), "{place}");
    let shared = problem(&|manifest| {
        let again = manifest.engines[0].clone();
        manifest.engines.push(again);
    });
    let file = &manifest().engines[0].file;
    let says = format!("`{file}` is the file of more than one engine");
    assert!(shared.contains(&says), "{shared}");
    let plugin = problem(&|manifest| {
        manifest.plugin = None;
        manifest.engines[0].contents.plugins.insert("CumoMoE".to_owned(), 1);
    });
    assert!(plugin.contains("holds nodes of CumoMoE, of which the manifest says"), "{plugin}");
    let device = problem(&|manifest| {
        manifest.tensorrt.flavour = TensorrtFlavour::V11;
        manifest.tensorrt.compute_capabilities.clear();
    });
    assert!(device.contains("TensorRT 11 built for no device"), "{device}");
    let weights = problem(&|manifest| manifest.weights_files = WeightsFiles::Copy);
    assert!(weights.contains("is not among the files"), "{weights}");
}

/// What is said of the shapes of an engine's input after a change of the engine.
fn shapes_problem(graph: &str, pass: Pass, change: impl FnOnce(&mut EngineEntry)) -> String {
    let mut manifest = manifest();
    for engine in &manifest.engines {
        let entry = crate::FileEntry { bytes: 1, sha256: "0".repeat(64) };
        manifest.files.insert(engine.file.clone(), entry);
    }
    let mut engines = manifest.engines.iter_mut();
    change(engines.find(|engine| engine.graph == graph && engine.pass == pass).unwrap());
    engines_validate::problems(&manifest).join("; ")
}

#[test]
fn shapes_are_those_of_the_graph_for_what_the_limits_promise() {
    let range = |min: &[usize], max: &[usize]| ShapeRange {
        min: min.to_vec(),
        opt: min.to_vec(),
        max: max.to_vec(),
    };
    let after = |graph: &str, pass: Pass, input: &str, shapes: Option<ShapeRange>| {
        shapes_problem(graph, pass, |engine| match shapes {
            Some(shapes) => drop(engine.profile.insert(input.to_owned(), shapes)),
            None => drop(engine.profile.remove(input)),
        })
    };
    let (layer, images) = ("decoder_layer", Pass::Images);
    let vision =
        manifest().engines.iter().find(|engine| engine.pass == images).unwrap().graph.clone();
    let lacking = after(layer, Pass::Prefill, "hidden_states", None);
    assert!(lacking.ends_with("there are no shapes for `hidden_states`"), "{lacking}");
    let falling =
        after(layer, Pass::Prefill, "hidden_states", Some(range(&[1, 4, 16], &[1, 3, 16])));
    assert!(falling.ends_with("its shapes of `hidden_states` are not the graph's"), "{falling}");
    let other = after(layer, Pass::Prefill, "other", Some(range(&[1], &[1])));
    assert!(other.ends_with("its shapes of `other` are not the graph's"), "{other}");
    let cases = [
        (
            layer,
            Pass::Prefill,
            "hidden_states",
            [1, 1, 16],
            [1, 4, 16],
            "1 to 4 sequence, the limits say 1 to 3",
        ),
        (
            layer,
            Pass::Prefill,
            "hidden_states",
            [2, 1, 16],
            [2, 3, 16],
            "2 to 2 batch, the limits say 1 to 1",
        ),
        (
            layer,
            Pass::Decode,
            "hidden_states",
            [1, 2, 16],
            [1, 2, 16],
            "2 to 2 sequence, the limits say 1 to 1",
        ),
    ];
    for (graph, pass, input, min, max, says) in cases {
        let message = after(graph, pass, input, Some(range(&min, &max)));
        assert!(message.ends_with(&format!("`{input}` takes {says}")), "{says} not in {message}");
    }
    let two = after(layer, Pass::Decode, "hidden_states", Some(range(&[1, 1, 16], &[1, 2, 16])));
    assert_eq!(two, "", "an engine of one position may take a second one");
    let cache =
        after(layer, Pass::Prefill, "past_key", Some(range(&[1, 2, 16, 8], &[1, 2, 16, 8])));
    assert!(cache.contains("`past_key` takes 16 to 16 max_sequence, the limits say"), "{cache}");
    let rung = after("decoder_inputs", Pass::Decode, "cache_positions", Some(range(&[8], &[17])));
    assert!(rung.contains("takes 8 to 17 attended, the limits say 16 to 16"), "{rung}");
    let prefill =
        after("decoder_inputs", Pass::Prefill, "cache_positions", Some(range(&[16], &[32])));
    assert!(
        prefill.contains("`cache_positions` takes 16 to 32 attended, the limits say"),
        "{prefill}"
    );
    let shapes = shapes_problem(&vision, images, |engine| {
        engine.profile.values_mut().for_each(|range| range.max[0] = 7);
    });
    assert!(shapes.contains("to 7 images, the limits say 1 to 1"), "{shapes}");
}

#[test]
fn a_cache_as_long_as_a_pass_looks_needs_an_engine_a_rung_for_prompts_too() {
    let by_rung = manifest_of(layered_by_rung());
    let rungs = |manifest: &EnginesManifest, graph: &str, pass: Pass| {
        let engines = manifest.engines.iter();
        let own = engines.filter(|engine| engine.graph == graph && engine.pass == pass);
        own.map(|engine| engine.attended).collect::<Vec<_>>()
    };
    for pass in [Pass::Prefill, Pass::Decode] {
        assert_eq!(rungs(&by_rung, "decoder_layer", pass), [Some(16), Some(64)]);
    }
    assert_eq!(rungs(&by_rung, "decoder_inputs", Pass::Prefill), [None]);
    assert_eq!(rungs(&manifest(), "decoder_layer", Pass::Prefill), [None]);
    let folder = tempfile::tempdir().unwrap();
    let engines = write(by_rung.clone(), folder.path());
    let found = engines.engine("decoder_layer", Pass::Prefill, 64).unwrap();
    assert_eq!(found.attended, Some(64));

    let mut missing = engines.manifest;
    missing.engines.retain(|it| it.pass != Pass::Prefill || it.attended != Some(16));
    let problems = crate::engines_validate::problems(&missing);
    let what = "graph `decoder_layer` has 0 engines for prefill over 16 positions, it needs one";
    assert_eq!(problems, [what]);

    // A new position has a place in the cache: prompts are no longer than the rung.
    let limits = EngineLimits { max_prompt: 20, ..by_rung.limits };
    assert_eq!([None, Some(16), Some(64)].map(|rung| limits.max_prompt_at(rung)), [20, 16, 20]);
}

proptest::proptest! {
    #[test]
    fn any_text_is_a_manifest_or_an_error(text in ".{0,200}") {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(names::MANIFEST_FILE), text).unwrap();
        proptest::prop_assert!(Engines::open(folder.path()).is_err());
    }

    #[test]
    fn a_manifest_with_a_byte_changed_is_read_or_refused(place in 0usize..100_000, byte: u8) {
        let mut text = serde_json::to_vec(&manifest()).unwrap();
        let place = place % text.len();
        text[place] = byte;
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(names::MANIFEST_FILE), text).unwrap();
        let _ = Engines::open(folder.path());
    }
}
