//! Engines with the weights in them.

use cumo_export::engine::Sizes;
use cumo_runtime::backend::BackendError;
use cumo_runtime::backends::BackendOptions;
use cumo_runtime::backends::tensorrt::TensorrtOptions;
use cumo_runtime::{Error, Model, ModelOptions};
use cumo_standin::{DeviceSettings, Settings};
use cumo_tests::{EngineFolder, Golden, onnxruntime_is_there, stand_in};

use crate::support::{CONTEXT, assert_answers};

#[test]
fn engines_with_weights_in_them_give_the_originals_tokens() {
    onnxruntime_is_there();
    let sizes = Sizes { max_prompt: Some(CONTEXT), max_context: Some(CONTEXT), ..Sizes::default() };
    for golden in Golden::all() {
        let engines = EngineFolder::with_constants(&golden, sizes);
        let (stand_in, libraries, _folder) = stand_in(&Settings::default());
        let tensorrt = TensorrtOptions { libraries, ..TensorrtOptions::default() };
        let backend = BackendOptions { tensorrt, ..BackendOptions::default() };
        let options = ModelOptions { backend, ..ModelOptions::default() };
        let mut model = Model::open(&engines.path(), &options).unwrap();
        assert_answers(&golden, &mut model);
        drop(model);
        assert_eq!(stand_in.violations(), [""; 0], "{}", golden.name);
    }
}

#[test]
fn engines_whose_constants_do_not_fit_are_refused_with_what_is_missing_before_they_are_loaded() {
    onnxruntime_is_there();
    let sizes = Sizes { max_prompt: Some(CONTEXT), max_context: Some(CONTEXT), ..Sizes::default() };
    let engines = EngineFolder::with_constants(&Golden::all()[0], sizes);
    // TensorRT's reserve, and no room for the engines.
    let small = DeviceSettings { total_bytes: 64 << 20, ..DeviceSettings::default() };
    let settings = Settings { device: Some(small), is_traced: true, ..Settings::default() };
    let (stand_in, libraries, _folder) = stand_in(&settings);
    let tensorrt = TensorrtOptions { libraries, ..TensorrtOptions::default() };
    let backend = BackendOptions { tensorrt, ..BackendOptions::default() };
    let options = ModelOptions { backend, ..ModelOptions::default() };
    let error = Model::open(&engines.path(), &options).err().unwrap();
    let Error::Backend(BackendError::DeviceMemory(plan)) = &error else { panic!("{error}") };
    assert!(plan.needed.weights > 1 << 16 && plan.missing().is_some(), "{plan:?}");
    assert_eq!(stand_in.violations(), [""; 0]);
    assert_eq!(stand_in.summary().unwrap().allocations, 0);
}
