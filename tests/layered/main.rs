//! A layered bundle, made by hand, on ONNX Runtime: weights as inputs, three layers of one graph, a
//! cache that is written where it lies or by the runtime, a ladder of two rungs. Every logit is
//! compared with plain loops over the whole prompt.
#![allow(clippy::unwrap_used, reason = "test code")]

mod bundle;
mod reference;

use std::fs;
use std::path::PathBuf;

use bundle::{Form, LADDER, WEIGHTS_FILE};
use cumo_bundle::{Bundle, Dtype, Manifest};
use cumo_runtime::backend::{Backend, BackendError, StepSpec};
use cumo_runtime::backends::ort::{OrtBackend, OrtOptions};
use cumo_runtime::{
    CancelToken, Error, Executor, FinishReason, GenerateOptions, ImageEmbeds, Model, ModelOptions,
    Position, SamplingOptions,
};
use cumo_tests::{Tolerances, onnxruntime_is_there};
use reference::{CONTEXT, PIXELS, Weights};

/// A bundle in a temporary folder.
struct Made {
    folder: tempfile::TempDir,
    weights: Weights,
}

impl Made {
    fn new(form: Form) -> Made {
        Made::spoilt(form, |_| ())
    }

    fn spoilt(form: Form, change: impl FnOnce(&mut Manifest)) -> Made {
        onnxruntime_is_there();
        let made = Made { folder: tempfile::tempdir().unwrap(), weights: Weights::new() };
        bundle::write(&made.path(), form, &made.weights, change);
        made
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("bundle")
    }

    fn open(&self) -> Result<Model, Error> {
        Model::open(&self.path(), &ModelOptions::default())
    }
}

/// The executor, and the embeddings of all positions that it has been given.
struct Session<'a> {
    executor: &'a mut Executor,
    weights: &'a Weights,
    embeds: Vec<Vec<f64>>,
}

impl<'a> Session<'a> {
    fn new(model: &'a mut Model, made: &'a Made) -> Self {
        Session { executor: model.executor(), weights: &made.weights, embeds: Vec::new() }
    }

    /// Runs tokens behind what is cached, and compares the logits of the last.
    fn tokens(&mut self, tokens: &[u32]) {
        let positions: Vec<Position> = tokens.iter().map(|token| Position::Token(*token)).collect();
        self.embeds.extend(tokens.iter().map(|token| self.weights.token(*token)));
        self.positions(&positions, &[]);
    }

    fn positions(&mut self, positions: &[Position], images: &[ImageEmbeds]) {
        self.executor.forward(positions, images).unwrap();
        assert_eq!(self.executor.cached(), self.embeds.len());
        let mut logits = Vec::new();
        self.executor.logits(&mut logits).unwrap();
        let want = self.weights.logits(&self.embeds);
        let largest = want.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
        for (token, (got, want)) in logits.iter().zip(&want).enumerate() {
            let ratio = (f64::from(*got) - want).abs() / largest;
            let place = self.embeds.len();
            assert!(ratio <= Tolerances::read().f32, "{place}, token {token}: {got}, not {want}");
        }
    }

    fn truncate(&mut self, length: usize) {
        self.executor.truncate(length).unwrap();
        self.embeds.truncate(length);
    }
}

#[test]
fn prefill_and_decode_are_those_of_plain_loops_across_a_rung() {
    for form in Form::ALL {
        let made = Made::new(form);
        let mut model = made.open().unwrap();
        let mut session = Session::new(&mut model, &made);
        session.tokens(&[1, 5, 7, 11, 3]);
        assert_eq!(session.executor.capacity(), LADDER[0]);
        for token in 0..24 {
            session.tokens(&[(7 * token + 4) % 40]);
        }
        assert_eq!(session.executor.capacity(), LADDER[1]);
    }
}

#[test]
fn a_cache_that_is_large_from_the_start_is_looked_at_as_far_as_a_rung() {
    for form in Form::ALL {
        let made = Made::new(form);
        let mut model = made.open().unwrap();
        let mut session = Session::new(&mut model, &made);
        session.executor.reserve(CONTEXT, 12).unwrap();
        session.tokens(&[1, 5]);
        let mask = session.executor.activation("mask").unwrap();
        assert_eq!(mask.shape, [1, 1, 2, LADDER[0]]);
        session.tokens(&[9; 12]);
        let mask = session.executor.activation("mask").unwrap();
        assert_eq!(mask.shape, [1, 1, 12, LADDER[1]]);
    }
}

#[test]
fn a_conversation_goes_back_and_on() {
    for form in Form::ALL {
        let made = Made::new(form);
        let mut model = made.open().unwrap();
        let mut session = Session::new(&mut model, &made);
        session.tokens(&[1, 5, 7, 11, 3, 2]);
        session.tokens(&[9, 8, 7, 6, 5]);
        // Another question behind the same beginning, on the lower rung again.
        session.truncate(3);
        session.tokens(&[20, 21, 22]);
        session.tokens(&[23]);
        session.tokens(&[24, 25, 26, 27]);
        session.truncate(0);
        session.tokens(&[30, 31]);
    }
}

#[test]
fn images_are_put_among_tokens() {
    for form in Form::ALL {
        let made = Made::new(form);
        let mut model = made.open().unwrap();
        let pixels: Vec<f32> = (0..2 * PIXELS as u32).map(|n| (n % 7) as f32 / 7.0).collect();
        let images = model.executor().encode_images(&pixels).unwrap();
        let mut session = Session::new(&mut model, &made);
        for (image, pixels) in pixels.chunks(PIXELS).enumerate() {
            session.embeds.push(made.weights.token(4));
            session.embeds.push(made.weights.image(pixels));
            let positions = [Position::Token(4), Position::Image { image, row: 0 }];
            session.positions(&positions, &images);
        }
    }
}

#[test]
fn a_stopped_pass_leaves_the_cache_as_it_was() {
    for form in Form::ALL {
        let made = Made::new(form);
        let mut model = made.open().unwrap();
        let mut session = Session::new(&mut model, &made);
        session.tokens(&[1, 5, 7]);
        let interrupt = session.executor.interrupt().unwrap();
        interrupt(true);
        let error = session.executor.forward(&[Position::Token(9); 4], &[]).unwrap_err();
        assert!(matches!(error, Error::Backend(BackendError::Interrupted)), "{error}");
        assert_eq!(session.executor.cached(), 3);
        interrupt(false);
        session.tokens(&[8, 6]);
    }
}

#[test]
fn an_answer_goes_as_far_as_the_context() {
    let made = Made::new(Form::InPlace);
    let mut model = made.open().unwrap();
    let options = GenerateOptions {
        max_new_tokens: 100,
        sampling: SamplingOptions { temperature: 0.0, ..SamplingOptions::default() },
        ignore_eos: true,
        ..GenerateOptions::default()
    };
    let answer =
        model.generate(&[1, 5, 7], &[], &options, &CancelToken::new(), &mut |_| ()).unwrap();
    assert_eq!((answer.tokens.len(), answer.finish_reason), (CONTEXT - 3, FinishReason::Length));
    let mut embeds: Vec<Vec<f64>> = [1, 5, 7].map(|token| made.weights.token(token)).into();
    for token in answer.tokens {
        let logits = made.weights.logits(&embeds);
        let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
        assert_eq!(token as usize, best, "behind {} positions", embeds.len());
        embeds.push(made.weights.token(token));
    }
}

#[test]
fn a_cut_file_of_weights_is_named_with_its_sizes() {
    let made = Made::new(Form::InPlace);
    let file = made.path().join(WEIGHTS_FILE);
    let bytes = fs::metadata(&file).unwrap().len();
    fs::File::options().write(true).open(&file).unwrap().set_len(bytes - 5000).unwrap();
    let error = made.open().err().unwrap().to_string();
    let wanted = format!("`{WEIGHTS_FILE}` has {} bytes, the manifest says {bytes}", bytes - 5000);
    assert!(error.contains(&wanted), "{error}");
}

#[test]
fn a_file_of_weights_that_is_cut_behind_the_bundles_back_is_refused() {
    let made = Made::new(Form::InPlace);
    let bundle = Bundle::open(&made.path()).unwrap();
    fs::write(made.path().join(WEIGHTS_FILE), [0; 5000]).unwrap();
    let backend = OrtBackend::new(OrtOptions::default(), Vec::new()).unwrap();
    let mut executor = Executor::new(&bundle, Box::new(backend)).unwrap();
    let error = executor.load(cumo_bundle::Phase::Decode).unwrap_err().to_string();
    assert!(error.starts_with("weight `layers.0."), "{error}");
    assert!(error.ends_with(" of its file, which has 5000 now"), "{error}");
}

#[test]
fn weights_of_another_type_than_the_graphs_are_refused() {
    // The graph's entry agrees with the weight's, and the graph with neither.
    let made = Made::spoilt(Form::InPlace, |manifest| {
        manifest.weights.get_mut("head").unwrap().dtype = Dtype::F16;
        manifest.graphs.get_mut("head").unwrap().inputs[1].dtype = Dtype::F16;
    });
    let error = made.open().err().unwrap().to_string();
    assert!(error.contains("head.onnx: input `weight` is"), "{error}");
    assert!(error.ends_with("the manifest says f16"), "{error}");
}

#[test]
fn a_graph_is_loaded_once_for_all_of_its_steps() {
    let made = Made::new(Form::InPlace);
    let bundle = Bundle::open(&made.path()).unwrap();
    let graph = &bundle.manifest.graphs["decoder_layer"];
    let twin = bundle.file(graph.twin.as_ref().unwrap());
    let spec = StepSpec {
        graph: "decoder_layer",
        file: &bundle.file(&graph.file),
        twin: Some(&twin),
        inputs: &graph.inputs.iter().collect::<Vec<_>>(),
        outputs: &graph.outputs.iter().collect::<Vec<_>>(),
    };
    let mut backend = OrtBackend::new(OrtOptions::default(), Vec::new()).unwrap();
    let first = backend.prepare(&spec).unwrap();
    fs::remove_file(&twin).unwrap();
    assert_ne!(backend.prepare(&spec).unwrap(), first);
}
