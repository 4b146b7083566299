//! Engines for TensorRT 10.3, which give new rows of the cache and leave it to the runtime to put
//! them there; and weights that are read where they are mapped.

use cumo_bundle::Target;
use cumo_export::engine::{EngineInput, EngineOptions, Silent, Sizes, WeightsPlace, build_engines};
use cumo_export::{FloatType, MoeKind};
use cumo_runtime::backend::BackendError;
use cumo_runtime::backends::tensorrt::Weights;
use cumo_runtime::{Error, Model};
use cumo_standin::{DeviceSettings, Settings};
use cumo_tensorrt::Flavour;
use cumo_tests::{Exported, Golden};

use crate::support::{CONTEXT, MAX_PROMPT, Setup, answer, assert_answers, golden};

#[test]
fn rows_are_put_into_the_cache_on_the_device() {
    for golden in Golden::all() {
        let setup = Setup::new(&golden, MoeKind::Function);
        let exported =
            Exported::new(&golden, Target::Tensorrt103, FloatType::F16, Some(MoeKind::Function));
        let folder = tempfile::tempdir().unwrap();
        let options = EngineOptions {
            input: EngineInput::Bundle(exported.path()),
            output: folder.path().join("engines"),
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
        let mut model = setup.open_at(&options.output).unwrap();
        assert_answers(&golden, &mut model);
        let llm = &model.facts().llm;
        let llm_layers = llm.num_layers;
        let a_row = llm.num_layers * 2 * llm.num_key_value_heads * llm.head_dim * 2;
        let summary = setup.finish(model);
        // Where rows go changes with every token: what they are between runs step by step.
        let passes = 4 * 24;
        // All but the first position of an answer, and the first pass on a rung and in a place.
        assert!((passes - 10..passes).contains(&summary.launches), "{summary:?}");
        assert!(summary.executions > passes * llm_layers as u64, "{summary:?}");
        assert!(summary.bytes_on_device >= 4 * 24 * a_row as u64, "{summary:?}");
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
