use std::collections::BTreeMap;
use std::fs;

use super::*;
use crate::validate::tests::layered;
use crate::{
    Dim, EngineContents, EngineLimits, EngineOptions, EnginesWriter, Graph, Phase, PluginFacts,
    ShapeRange, TensorrtFacts, TensorrtFlavour,
};

const HERE: Machine<'static> = Machine {
    flavour: TensorrtFlavour::Rtx,
    version: "1.7.1.116",
    compute_capability: Some(89),
    plugin_layout: Some(1),
};

fn attends(graph: &Graph) -> bool {
    let is_rung = |dim: &Dim| matches!(dim, Dim::Symbol(name) if name == names::ATTENDED);
    graph.inputs.iter().any(|input| input.shape.iter().any(is_rung))
}

/// Engines of the layered plan of the bundle's tests, whose files hold their own names.
pub(crate) fn manifest() -> EnginesManifest {
    let bundle = layered();
    let context = bundle.model.llm.context_length;
    let attended = bundle.plan.attended.clone();
    let mut engines: Vec<EngineEntry> = Vec::new();
    for phase in Phase::ALL {
        for step in bundle.plan.steps(phase) {
            for pass in Pass::of(phase) {
                let depends = attends(&bundle.graphs[&step.graph]) && *pass == Pass::Decode;
                let rungs: Vec<Option<usize>> = match depends {
                    true => attended.iter().copied().map(Some).collect(),
                    false => vec![None],
                };
                for rung in rungs {
                    let file = format!("{}.{}.{rung:?}.engine", step.graph, pass.name());
                    if engines.iter().any(|engine| engine.file == file) {
                        continue;
                    }
                    engines.push(EngineEntry {
                        file,
                        graph: step.graph.clone(),
                        pass: *pass,
                        attended: rung,
                        profile: BTreeMap::new(),
                        key: "0".repeat(64),
                        contents: EngineContents::default(),
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
        limits: EngineLimits {
            max_images: 1,
            batch: 1,
            max_prompt: 1,
            max_context: context,
            attended,
        },
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
    let shapes = problem(&|manifest| {
        let range = ShapeRange { min: vec![2], opt: vec![1], max: vec![3] };
        manifest.engines[0].profile.insert("pixel_values".to_owned(), range);
    });
    assert!(shapes.contains("shapes of `pixel_values` are not the graph's"), "{shapes}");
    let weights = problem(&|manifest| manifest.weights_files = WeightsFiles::Copy);
    assert!(weights.contains("is not among the files"), "{weights}");
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
