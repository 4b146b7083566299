//! Plans of layers: weights, the ladder of cache lengths, what is bound when. The backend checks
//! that every pass is given the right rung.

use std::path::Path;

use super::*;
use crate::testing::{self, Form, LADDER, next_token};

const LAYERED: [Form; 4] =
    [Form::LayersInPlace, Form::LayersRows, Form::RungInPlace, Form::RungRows];

/// Runs tokens through the model and compares its best token behind them.
fn pass(executor: &mut Executor, seen: &mut Vec<f32>, tokens: &[u32]) {
    let positions: Vec<Position> = tokens.iter().map(|token| Position::Token(*token)).collect();
    executor.forward(&positions, &[]).unwrap();
    seen.extend(tokens.iter().map(|token| *token as f32));
    let mut scores = Vec::new();
    executor.logits(&mut scores).unwrap();
    assert_eq!(scores[next_token(seen) as usize], 5.0, "behind {} positions", seen.len());
}

#[test]
fn the_cache_has_room_for_a_rung_and_grows_to_the_next() {
    for form in LAYERED {
        let (mut generator, _) = testing::generator(form);
        let executor = generator.executor();
        let mut seen = Vec::new();
        let mut capacities = Vec::new();
        for token in 0..LADDER[2] as u32 + 3 {
            pass(executor, &mut seen, &[3 + token % 20]);
            capacities.push(executor.capacity());
        }
        capacities.dedup();
        assert_eq!(capacities, LADDER);
    }
}

#[test]
fn passes_of_many_positions_cross_rungs_and_the_cache_can_be_cut() {
    for form in LAYERED {
        let (mut generator, _) = testing::generator(form);
        let executor = generator.executor();
        executor.reserve(40, 20).unwrap();
        let mut seen = Vec::new();
        pass(executor, &mut seen, &[1, 5, 7]);
        pass(executor, &mut seen, &[4; 20]);
        pass(executor, &mut seen, &[9]);
        // Back below a rung, and other positions in the place of those that were there.
        executor.truncate(2).unwrap();
        seen.truncate(2);
        pass(executor, &mut seen, &[8, 6]);
        pass(executor, &mut seen, &[11; 12]);
        assert_eq!(executor.cached(), 16);
    }
}

proptest::proptest! {
    #[test]
    fn any_passes_and_cuts_give_the_tokens_of_all_positions(
        form in proptest::sample::select(&LAYERED[..]),
        work in proptest::collection::vec((1_usize..24, 0_usize..=100), 1..24),
        reserved in proptest::bool::ANY,
    ) {
        let (mut generator, _) = testing::generator(form);
        let executor = generator.executor();
        if reserved {
            executor.reserve(testing::CONTEXT, 24).unwrap();
        }
        let mut seen = Vec::new();
        for (step, (count, kept)) in work.into_iter().enumerate() {
            // A third of the passes come behind a part of what was there.
            if step % 3 == 2 || seen.len() + count > testing::CONTEXT {
                let most = testing::CONTEXT - count;
                let length = (seen.len() * kept / 100).min(most);
                executor.truncate(length).unwrap();
                seen.truncate(length);
            }
            let tokens: Vec<u32> = (0..count).map(|token| ((step + token) % 20) as u32).collect();
            pass(executor, &mut seen, &tokens);
        }
    }
}

#[test]
fn rows_are_moved_only_where_the_rung_changes_and_something_is_cached() {
    for form in [Form::RungInPlace, Form::RungRows] {
        let (mut generator, backend) = testing::generator(form);
        let executor = generator.executor();
        executor.reserve(LADDER[2], 8).unwrap();
        let rows_of_pass = if form == Form::RungRows { 2 * 2 } else { 0 };
        let mut seen = Vec::new();
        let mut copies = |executor: &mut Executor, tokens: &[u32]| {
            let before = backend.borrow().copies;
            pass(executor, &mut seen, tokens);
            if executor.cached() == 13 {
                executor.truncate(0).unwrap();
                seen.clear();
            }
            backend.borrow().copies - before - rows_of_pass
        };
        // The second row of two slots is moved behind 4 and 12 positions.
        let counts = [[1, 2].as_slice(), &[3, 4], &[5], &[6; 7], &[7], &[8]];
        let counts = counts.map(|tokens| copies(executor, tokens));
        assert_eq!(counts, [0, 0, 2, 0, 2, 0], "{form:?}");
    }
}

#[test]
fn a_cache_that_could_not_be_moved_is_empty_and_of_use() {
    let (mut generator, backend) = testing::generator(Form::RungInPlace);
    let executor = generator.executor();
    executor.reserve(LADDER[1], 8).unwrap();
    let mut seen = Vec::new();
    pass(executor, &mut seen, &[1, 5, 7, 2]);
    backend.borrow_mut().fail_copy = Some(1);
    let error = executor.forward(&[Position::Token(9)], &[]).unwrap_err();
    assert!(error.to_string().contains("as asked"), "{error}");
    assert_eq!(executor.cached(), 0);
    seen.clear();
    pass(executor, &mut seen, &[4, 3, 2, 8, 9]);
}

#[test]
fn a_cache_that_could_not_be_shortened_is_empty_and_of_use() {
    let (mut generator, backend) = testing::generator(Form::Append);
    let executor = generator.executor();
    let mut seen = Vec::new();
    pass(executor, &mut seen, &[1, 5, 7, 2]);
    let copies = backend.borrow().copies;
    backend.borrow_mut().fail_copy = Some(copies);
    assert!(executor.truncate(2).unwrap_err().to_string().contains("as asked"));
    assert_eq!(executor.cached(), 0);
    seen.clear();
    pass(executor, &mut seen, &[4, 3, 2]);
}

#[test]
fn a_cache_that_could_not_be_made_larger_leaves_no_memory_behind() {
    for form in Form::ALL {
        let (mut generator, backend) = testing::generator(form);
        let executor = generator.executor();
        executor.reserve(LADDER[0], 4).unwrap();
        let mut seen = Vec::new();
        pass(executor, &mut seen, &[1, 5]);
        let held = || backend.borrow().allocations - backend.borrow().releases;
        let (before, copies) = (held(), backend.borrow().copies);
        backend.borrow_mut().fail_copy = Some(copies);
        assert!(executor.reserve(LADDER[1], 4).is_err(), "{form:?}");
        assert_eq!((executor.cached(), executor.capacity()), (0, 0), "{form:?}");
        executor.reserve(LADDER[1], 4).unwrap();
        assert_eq!(held(), before, "{form:?}");
        seen.clear();
        pass(executor, &mut seen, &[3, 9]);
    }
}

#[test]
fn nothing_is_bound_for_a_token_unless_the_rung_changes() {
    for form in LAYERED {
        let (mut generator, backend) = testing::generator(form);
        let executor = generator.executor();
        executor.reserve(LADDER[2], 4).unwrap();
        let mut seen = Vec::new();
        pass(executor, &mut seen, &[1, 5, 7]);
        let mut binds = Vec::new();
        for token in 0..12 {
            let before = backend.borrow().binds;
            pass(executor, &mut seen, &[token]);
            binds.push(backend.borrow().binds - before);
        }
        // The first token has another shape than the prompt. Behind 4 and 12 positions, the
        // rung's size is bound: the positions of the cache, the mask of three steps, and the caches
        // of two, whose rows lie as far apart.
        let rung = match form {
            Form::RungInPlace => 4 + 4,
            Form::RungRows => 4 + 2,
            _ => 4,
        };
        assert_eq!(binds[1..], [rung, 0, 0, 0, 0, 0, 0, 0, rung, 0, 0], "{form:?}");
    }
}

#[test]
fn a_file_of_weights_is_mapped_once() {
    let (mut generator, backend) = testing::generator(Form::LayersInPlace);
    let executor = generator.executor();
    executor.load(Phase::EmbedTokens).unwrap();
    assert!(backend.borrow().maps.is_empty());
    executor.load(Phase::Decode).unwrap();
    executor.load(Phase::Decode).unwrap();
    assert_eq!(backend.borrow().maps, [Path::new("nowhere").join("weights")]);
}

#[test]
fn positions_behind_the_last_rung_are_refused() {
    let (mut generator, _) = testing::generator(Form::LayersRows);
    let executor = generator.executor();
    let wanted = "65 positions were asked for, the bundle's longest cache has 64";
    assert_eq!(executor.reserve(65, 1).unwrap_err().to_string(), wanted);
    let error = executor.forward(&[Position::Token(1); 65], &[]).unwrap_err();
    assert_eq!((error.to_string().as_str(), executor.cached()), (wanted, 0));
}

#[test]
fn a_weight_that_is_not_there_is_named() {
    let mut bundle = testing::bundle(Form::LayersInPlace);
    bundle.manifest.weights.remove("sums.1");
    let backend = testing::HostBackend::new(Default::default());
    let mut executor = Executor::new(&bundle, Box::new(backend)).unwrap();
    let error = executor.load(Phase::Decode).unwrap_err();
    assert_eq!(error.to_string(), "the bundle has no weight `sums.1`");
}

#[test]
fn embeddings_computed_elsewhere_are_an_image() {
    let (mut generator, _) = testing::generator(Form::LayersInPlace);
    let executor = generator.executor();
    let image = executor.put_image(&[5.0, 6.0, 9.0]).unwrap();
    let rows = (0..3).map(|row| Position::Image { image: 0, row });
    let positions: Vec<Position> = [Position::Token(1)].into_iter().chain(rows).collect();
    executor.forward(&positions, &[image]).unwrap();
    let mut scores = Vec::new();
    executor.logits(&mut scores).unwrap();
    assert_eq!(scores[next_token(&[1.0, 5.0, 6.0, 9.0]) as usize], 5.0);
    let error = executor.put_image(&[5.0]).unwrap_err().to_string();
    assert_eq!(error, "1 numbers were given for an image, the model's images have 3");
}

#[test]
fn an_image_has_the_memory_of_one_that_was_released_and_is_not_taken_for_it() {
    let (mut generator, seen) = testing::generator(Form::LayersInPlace);
    let executor = generator.executor();
    let first = executor.put_image(&[5.0, 6.0, 9.0]).unwrap();
    let allocations = seen.borrow().allocations;
    executor.release_images(first);
    let second = executor.put_image(&[1.0, 2.0, 3.0]).unwrap();
    assert_eq!((seen.borrow().allocations, seen.borrow().releases), (allocations, 0));
    assert_ne!(first, second);
    // What was released is neither released again nor read.
    executor.release_images(first);
    let third = executor.put_image(&[7.0, 8.0, 9.0]).unwrap();
    assert_eq!(seen.borrow().allocations, allocations + 1);
    let position = Position::Image { image: 0, row: 0 };
    assert!(matches!(executor.forward(&[position], &[first]), Err(Error::Backend(_))));
    executor.forward(&[position], &[third]).unwrap();
}

#[test]
fn the_best_tokens_are_those_of_the_logits_as_far_as_they_are_given() {
    let (mut generator, _) = testing::generator(Form::LayersInPlace);
    let executor = generator.executor();
    executor.forward(&[Position::Token(4), Position::Token(9)], &[]).unwrap();
    let (mut best, first) = (Vec::new(), next_token(&[4.0, 9.0]));
    assert!(executor.candidates(1, &mut best).unwrap());
    assert_eq!(best, [(5.0, first)]);
    assert!(executor.candidates(2, &mut best).unwrap());
    assert_eq!(best, [(5.0, first), (4.0, first + 1)]);
    assert!(!executor.candidates(3, &mut best).unwrap());
    assert_eq!(best, []);
    executor.forward(&[Position::Token(testing::POISON)], &[]).unwrap();
    let error = executor.candidates(1, &mut best).unwrap_err().to_string();
    assert!(error.contains("behind position 3 are not finite"), "{error}");
}

#[test]
fn a_token_that_the_vocabulary_has_not_is_refused() {
    let mut bundle = testing::bundle(Form::LayersInPlace);
    bundle.manifest.model.llm.vocab_size = 3;
    let backend = testing::HostBackend::new(Default::default());
    let mut executor = Executor::new(&bundle, Box::new(backend)).unwrap();
    executor.forward(&[Position::Token(1)], &[]).unwrap();
    let error = executor.candidates(1, &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "the model's best tokens have id 10, its vocabulary has 3");
}
