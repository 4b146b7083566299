//! Engines with the weights in them.

use cumo_export::engine::Sizes;
use cumo_runtime::Model;
use cumo_runtime::ModelOptions;
use cumo_runtime::backends::BackendOptions;
use cumo_runtime::backends::tensorrt::TensorrtOptions;
use cumo_standin::Settings;
use cumo_tests::{EngineFolder, Golden, onnxruntime_is_there, stand_in};

use crate::support::{CONTEXT, answer, golden_images};

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
        for (name, prompt) in &golden.prompts {
            let images = golden_images(&golden, &mut model, prompt);
            let count = prompt.greedy_tokens.len();
            let answer = answer(&mut model, &prompt.input_ids, &images, count).unwrap();
            assert_eq!(answer.tokens, prompt.greedy_tokens, "{} {name}", golden.name);
            model.release_images(images);
        }
        drop(model);
        assert_eq!(stand_in.violations(), [""; 0], "{}", golden.name);
    }
}
