//! The benchmark's honesty: a backend whose delays are known, by a clock that only they move.

mod answers;
mod delayed;
mod depths;
mod energy;

use std::path::Path;

use super::*;
use delayed::{model, turned_by_hand};

/// With 8 bytes an id, no prompt has the bytes of an image.
const PROMPT: usize = 7;

fn options(images: &[&Path], depths: &[usize]) -> BenchOptions {
    BenchOptions {
        images: images.iter().map(|path| (*path).to_owned()).collect(),
        prompt_tokens: PROMPT,
        generate_tokens: 5,
        repetitions: 3,
        warmup: 1,
        depths: depths.to_vec(),
        seed: 1,
    }
}

fn measured(model: &mut Model, options: &BenchOptions) -> BenchResult {
    let cancel = CancelToken::new();
    let mut result = BenchResult::default();
    Bench::new(model, options, &cancel, &mut ()).run(&mut result).unwrap();
    result
}

/// Within 2 % of what is known.
fn assert_near(what: &str, got: u64, known: Duration) {
    let (got, known) = (got as f64, known.as_nanos() as f64);
    assert!((got - known).abs() <= 0.02 * known, "{what}: {got} ns, it is {known} ns");
}

#[test]
fn the_same_seed_asks_the_same_question() {
    let (mut model, cancel) = (model(&turned_by_hand(), false), CancelToken::new());
    let mut question = |seed| {
        let options = BenchOptions { seed, ..options(&[], &[]) };
        Bench::new(&mut model, &options, &cancel, &mut ()).question()
    };
    assert_eq!(question(1), question(1));
    assert_ne!(question(1), question(2));
    assert_eq!(question(1).len(), PROMPT);
}

#[test]
fn a_cancelled_benchmark_ends_wherever_it_is() {
    struct CancelAt<'a>(&'static str, &'a CancelToken);
    impl BenchProgress for CancelAt<'_> {
        fn begin(&mut self, what: &str, _: usize) {
            if what == self.0 {
                self.1.cancel();
            }
        }
        fn step(&mut self) {}
    }
    for at in ["question", "depth 0", "depth 8"] {
        let (mut model, cancel) = (model(&turned_by_hand(), true), CancelToken::new());
        let (options, mut progress) = (options(&[], &[0, 8]), CancelAt(at, &cancel));
        let mut bench = Bench::new(&mut model, &options, &cancel, &mut progress);
        let error = bench.run(&mut BenchResult::default()).unwrap_err();
        assert!(matches!(error, Error::Backend(BackendError::Interrupted)), "{at}: {error}");
    }
}

#[test]
fn after_a_benchmark_the_model_answers_as_before() {
    let (mut fresh, mut used) = (model(&turned_by_hand(), false), model(&turned_by_hand(), false));
    measured(&mut used, &options(&[], &[0, 8]));
    let ask = |model: &mut Model| {
        let options = crate::GenerateOptions {
            max_new_tokens: 6,
            sampling: crate::SamplingOptions::greedy(),
            ..Default::default()
        };
        let cancel = CancelToken::new();
        model.generate(&[1, 5, 9], &[], &options, &cancel, &mut |_| ()).unwrap().tokens
    };
    assert_eq!(ask(&mut used), ask(&mut fresh));
}
