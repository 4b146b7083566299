//! Engines for TensorRT 10.3, which give new rows of the cache and leave it to the runtime to put
//! them there; and weights that are read where they are mapped.

use std::path::PathBuf;

use cumo_bundle::Target;
use cumo_export::engine::{EngineInput, EngineOptions, Silent, Sizes, WeightsPlace, build_engines};
use cumo_export::{FloatType, MoeKind};
use cumo_runtime::backend::{Action, Backend, BackendError, RowWrite};
use cumo_runtime::backends::tensorrt::{TensorrtBackend, Weights};
use cumo_runtime::{Error, Model};
use cumo_standin::{DeviceSettings, Settings};
use cumo_tensorrt::Flavour;
use cumo_tests::{Exported, Golden};

use crate::support::{CONTEXT, MAX_PROMPT, Setup, answer, assert_answers, golden};

/// A golden's engines for TensorRT 10.3.
struct Engines {
    setup: Setup,
    path: PathBuf,
    /// Has the weights.
    _bundle: Exported,
    _folder: tempfile::TempDir,
}

impl Engines {
    fn new(golden: &Golden, settings: &Settings) -> Engines {
        let setup = Setup::with(golden, MoeKind::Function, settings);
        let exported =
            Exported::new(golden, Target::Tensorrt103, FloatType::F16, Some(MoeKind::Function));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engines");
        let options = EngineOptions {
            input: EngineInput::Bundle(exported.path()),
            output: path.clone(),
            target: Target::Tensorrt103,
            flavour: Some(Flavour::Rtx),
            libraries: setup.options().backend.tensorrt.libraries,
            sizes: Sizes {
                max_prompt: Some(MAX_PROMPT),
                max_context: Some(CONTEXT),
                ..Sizes::default()
            },
            workspace_bytes: None,
            timing_cache: None,
            devices: Vec::new(),
            constant_weights: false,
            constant_layers: None,
            moe: None,
            plugin: None,
            weights_place: WeightsPlace::Link,
            cache: None,
            force: false,
        };
        build_engines(&options, &Silent).unwrap();
        setup.stand_in.forget();
        Engines { setup, path, _bundle: exported, _folder: folder }
    }

    fn open(&self) -> Model {
        self.setup.open_at(&self.path).unwrap()
    }

    fn backend(&self) -> TensorrtBackend {
        let engines = cumo_bundle::Engines::open(&self.path).unwrap();
        TensorrtBackend::new(&engines, self.setup.options().backend.tensorrt).unwrap()
    }
}

#[test]
fn rows_are_put_into_the_cache_on_the_device() {
    for golden in Golden::all() {
        for is_eager in [false, true] {
            let engines = Engines::new(&golden, &Settings { is_eager, ..Settings::default() });
            let mut model = engines.open();
            assert_answers(&golden, &mut model);
            assert_eq!(model.take_notes(), [""; 0]);
            let slots = 2 * model.facts().llm.num_layers as u64;
            let summary = engines.setup.finish(model);
            // Four answers of 24 tokens, the first of each by its prompt.
            assert!(summary.row_writes >= 4 * 24 * slots, "{summary:?}");
            assert_eq!(summary.row_writes % slots, 0, "{summary:?}");
        }
    }
}

#[test]
fn decoding_is_one_graph_a_rung_and_no_row_is_written_beside_it() {
    let golden = golden("mistral-moe");
    let settings = Settings { is_traced: true, ..Settings::default() };
    let engines = Engines::new(&golden, &settings);
    let mut model = engines.open();
    let ids = &golden.prompts["text_only"].input_ids;
    // Over the rungs of 64, 128 and 256 positions to the end of the context, and the same again.
    let tokens = CONTEXT - ids.len();
    let first = answer(&mut model, ids, &[], tokens).unwrap();
    assert_eq!(first.tokens.len(), tokens);
    assert_eq!(answer(&mut model, ids, &[], tokens).unwrap().tokens, first.tokens);
    assert_eq!(model.take_notes(), [""; 0]);
    let slots = 2 * model.facts().llm.num_layers as u64;
    let summary = engines.setup.finish(model);
    // The second time, the prompt's last position is a pass like those behind it.
    let passes = 2 * (tokens as u64 - 1) + 1;
    assert_eq!((summary.captures, summary.launches), (3, passes - 3), "{summary:?}");
    let pieces = (ids.len() as u64).div_ceil(MAX_PROMPT as u64);
    assert_eq!(summary.row_writes, (passes + pieces) * slots, "{summary:?}");

    let trace = engines.setup.stand_in.trace();
    let is_launch = |(_, line): &(usize, &String)| line.contains("launch a graph");
    let launches: Vec<usize> = trace.iter().enumerate().filter(is_launch).map(|it| it.0).collect();
    let alone = |pair: &&[usize]| {
        let between = &trace[pair[0] + 1..pair[1]];
        !between.iter().any(|line| line.contains("rows") || line.contains("capture"))
    };
    // Rows are written by themselves only where the second and the third rung begin, which run step
    // by step before they are recorded.
    let quiet = launches.windows(2).filter(alone).count();
    assert_eq!(quiet, launches.len() - 1 - 2);
}

#[test]
fn what_goes_over_for_a_token_is_an_id_a_position_and_an_index() {
    let golden = golden("mistral-moe");
    let engines = Engines::new(&golden, &Settings::default());
    let bytes = |tokens: usize| {
        engines.setup.stand_in.forget();
        let mut model = engines.open();
        answer(&mut model, &golden.prompts["text_only"].input_ids, &[], tokens).unwrap();
        engines.setup.finish(model).bytes_to_device
    };
    assert_eq!(bytes(30) - bytes(10), 20 * 3 * 8);
}

#[test]
fn without_kernels_rows_are_copied_and_that_is_told_once() {
    let golden = golden("mistral-dense");
    let engines = Engines::new(&golden, &Settings { has_kernels: false, ..Settings::default() });
    let missing = "/nonexistent/libcumo_plugin.so";
    for plugin in [None, Some(missing)] {
        engines.setup.stand_in.forget();
        let mut options = engines.setup.options();
        if let Some(plugin) = plugin {
            options.backend.tensorrt.plugin = Some(plugin.into());
        }
        let mut model = Model::open(&engines.path, &options).unwrap();
        assert_answers(&golden, &mut model);
        let notes = model.take_notes();
        let [note] = notes.as_slice() else { panic!("{notes:?}") };
        let why = plugin.unwrap_or("has no kernels that write rows");
        assert!(note.starts_with("new keys and values are copied") && note.contains(why), "{note}");
        assert_eq!(model.take_notes(), [""; 0]);
        let summary = engines.setup.finish(model);
        // What comes before the first rows is recorded all the same.
        assert!(summary.row_writes == 0 && summary.launches > 0, "{summary:?}");
    }
}

/// Two heads of four positions of two bytes, with one new position of each.
struct Cache {
    backend: TensorrtBackend,
    write: RowWrite,
}

impl Cache {
    fn new(engines: &Engines) -> Cache {
        let mut backend = engines.backend();
        let [rows, cache, index] = [4, 16, 8].map(|bytes| backend.allocate(bytes).unwrap());
        backend.write(rows, 0, &[1, 2, 3, 4]).unwrap();
        let write = RowWrite {
            rows,
            cache,
            index,
            position: 0,
            heads: 2,
            sequence: 1,
            pitch: 4,
            position_bytes: 2,
        };
        Cache { backend, write }
    }

    /// Writes the rows twice in one pass to a place, and gives the cache.
    fn pass(&mut self, position: usize) -> Vec<u8> {
        let index = (position as i64).to_ne_bytes();
        self.backend.write(self.write.index, 0, &index).unwrap();
        let write = Action::WriteRows(RowWrite { position, ..self.write });
        self.backend.run_all(&[write, write], true).unwrap();
        self.backend.read(self.write.cache, 0, 16).unwrap().to_vec()
    }
}

#[test]
fn recorded_rows_follow_the_index_until_their_memory_is_given_back() {
    let golden = golden("mistral-dense");
    let engines = Engines::new(&golden, &Settings::default());
    let mut cache = Cache::new(&engines);
    for position in 0..3 {
        cache.pass(position);
    }
    assert_eq!(cache.pass(3), [1, 2, 1, 2, 1, 2, 1, 2, 3, 4, 3, 4, 3, 4, 3, 4]);
    // Other memory in its place: the old graph is not played.
    cache.backend.release(cache.write.cache);
    cache.write.cache = cache.backend.allocate(16).unwrap();
    for position in [1, 1, 1] {
        let want = [0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 3, 4, 0, 0, 0, 0];
        assert_eq!(cache.pass(position), want);
    }
    drop(cache);
    engines.setup.nothing_is_wrong();
    let summary = engines.setup.stand_in.summary().unwrap();
    assert_eq!((summary.captures, summary.launches), (2, 3 + 2), "{summary:?}");
}

#[test]
fn rows_that_have_no_place_are_refused() {
    let golden = golden("mistral-dense");
    for has_kernels in [true, false] {
        let engines = Engines::new(&golden, &Settings { has_kernels, ..Settings::default() });
        let mut cache = Cache::new(&engines);
        let good = cache.write;
        let small = cache.backend.allocate(4).unwrap();
        let mut refuse = |write: RowWrite, bytes: (usize, usize, usize)| {
            for repeats in [false, true] {
                let refused = cache.backend.run_all(&[Action::WriteRows(write)], repeats);
                let Err(BackendError::OutOfBounds { offset, end, size }) = refused else {
                    panic!("{refused:?}")
                };
                assert_eq!((offset, end, size), bytes);
            }
        };
        refuse(RowWrite { position: 4, ..good }, (8, 10, 8));
        refuse(RowWrite { position: 3, sequence: 2, ..good }, (6, 10, 8));
        refuse(RowWrite { position: usize::MAX, ..good }, (usize::MAX, usize::MAX, 8));
        refuse(RowWrite { pitch: 5, ..good }, (0, 20, 16));
        refuse(RowWrite { rows: small, sequence: 2, ..good }, (0, 8, 4));
        refuse(RowWrite { index: small, ..good }, (0, 8, 4));
        drop(cache);
        engines.setup.nothing_is_wrong();
    }
}

/// Answers a golden's question with weights in place, on a device that shares the host's memory or
/// does not.
fn in_place(golden: &Golden, is_integrated: bool) -> (Setup, Result<Model, Error>) {
    let device = DeviceSettings { is_integrated, ..DeviceSettings::default() };
    let settings = Settings { device: Some(device), ..Settings::default() };
    let setup = Setup::with(golden, MoeKind::Plugin, &settings);
    let mut options = setup.options();
    options.backend.tensorrt.weights = Weights::InPlace;
    let model = Model::open(&setup.engines.path(), &options);
    (setup, model)
}

#[test]
fn weights_are_read_where_they_are_mapped() {
    let golden = golden("mistral-moe");
    let (setup, model) = in_place(&golden, true);
    let mut model = model.unwrap();
    let prompt = &golden.prompts["text_only"];
    let answer = answer(&mut model, &prompt.input_ids, &[], 24).unwrap();
    assert_eq!(answer.tokens, prompt.greedy_tokens);
    let weights = std::fs::metadata(setup.engines.path().join("llm.safetensors")).unwrap().len();
    let summary = setup.finish(model);
    assert!(summary.bytes_to_device < weights, "{summary:?}");
}

#[test]
fn weights_that_are_read_in_place_need_room_all_the_same() {
    let golden = golden("mistral-moe");
    let file = |setup: &Setup| std::fs::metadata(setup.engines.path().join("llm.safetensors"));
    let weights = file(&in_place(&golden, true).0).unwrap().len();
    let device = DeviceSettings {
        is_integrated: true,
        total_bytes: (64 << 20) + weights,
        ..DeviceSettings::default()
    };
    let settings = Settings { device: Some(device), ..Settings::default() };
    let setup = Setup::with(&golden, MoeKind::Plugin, &settings);
    let mut options = setup.options();
    options.backend.tensorrt.weights = Weights::InPlace;
    let error = Model::open(&setup.engines.path(), &options).err().unwrap();
    let Error::Backend(BackendError::DeviceMemory(plan)) = &error else { panic!("{error}") };
    assert!(plan.needed.weights >= weights, "{plan:?}");
    setup.nothing_is_wrong();
}

#[test]
fn a_device_with_memory_of_its_own_does_not_read_weights_in_place() {
    let (setup, model) = in_place(&golden("mistral-moe"), false);
    let error = model.err().unwrap().to_string();
    assert!(error.contains("embed.safetensors: the device reads no memory of the host"), "{error}");
    setup.nothing_is_wrong();
}
