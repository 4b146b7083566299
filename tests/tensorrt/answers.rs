//! Answers: the goldens' tokens, across rungs, in conversations, with images in batches.

use std::path::PathBuf;

use cumo_export::MoeKind;
use cumo_runtime::{CancelToken, FinishReason, Model, ModelOptions};
use cumo_standin::Settings;
use cumo_tests::Golden;

use crate::support::{CONTEXT, Setup, answer, assert_answers, golden, golden_images, greedy};

#[test]
fn every_golden_is_answered_with_the_originals_tokens() {
    for golden in Golden::all() {
        for moe in [MoeKind::Plugin, MoeKind::Function] {
            let setup = Setup::new(&golden, moe);
            let mut model = setup.open().unwrap();
            assert_answers(&golden, &mut model);
            let summary = setup.finish(model);
            assert!(summary.launches > 0 && summary.captures > 0, "{summary:?}");
        }
    }
}

#[test]
fn decoding_is_one_graph_a_rung_that_is_played_again() {
    let golden = golden("mistral-moe");
    let setup = Setup::new(&golden, MoeKind::Plugin);
    let mut model = setup.open().unwrap();
    let prompt = &golden.prompts["text_only"];
    // Over the rungs of 64, 128 and 256 positions to the end of the context.
    let tokens = CONTEXT - prompt.input_ids.len();
    let first = answer(&mut model, &prompt.input_ids, &[], tokens).unwrap();
    assert_eq!(first.tokens.len(), tokens);
    // The same again: lower rungs come back and their graphs with them.
    let again = answer(&mut model, &prompt.input_ids, &[], tokens).unwrap();
    assert_eq!(again.tokens, first.tokens);
    assert!(model.take_notes().is_empty());
    // The second time, the prompt's last position is a pass like those behind it: the others are
    // in the cache.
    let passes = 2 * (tokens as u64 - 1) + 1;
    let summary = setup.finish(model);
    assert_eq!(summary.captures, 3, "{summary:?}");
    // Each rung ran step by step once.
    assert_eq!(summary.launches, passes - 3, "{summary:?}");
}

#[test]
fn an_answer_over_all_rungs_allocates_nothing_but_what_is_recorded() {
    let golden = golden("mistral-moe");
    let setup = Setup::new(&golden, MoeKind::Plugin);
    let ids = &golden.prompts["text_only"].input_ids;
    let allocations = |tokens: usize| {
        setup.stand_in.forget();
        let mut model = setup.open().unwrap();
        answer(&mut model, ids, &[], tokens).unwrap();
        let summary = setup.finish(model);
        (summary.allocations, summary.captures)
    };
    // The cache is made for all of the context: as many tensors of it, on all rungs.
    let (first, all) = (allocations(2), allocations(CONTEXT - ids.len()));
    assert!(all.1 >= 3);
    assert_eq!(all.0 - all.1, first.0 - first.1, "{first:?} {all:?}");
}

#[test]
fn answers_are_those_of_onnx_runtime_on_the_twins() {
    let golden = golden("mistral-dense");
    let setup = Setup::new(&golden, MoeKind::Plugin);
    let mut engines = setup.open().unwrap();
    let mut twins = Model::open(&setup.engines.bundle(), &ModelOptions::default()).unwrap();
    let paths: Vec<PathBuf> = golden.images().iter().map(|name| golden.image(name)).collect();
    assert_eq!(paths.len(), 3, "more than go through the tower at once");
    let prompt = &golden.prompts["two_images"];
    let mut ids = prompt.input_ids.clone();
    ids.extend([-200, 5, 9]);
    let answers = [&mut engines, &mut twins].map(|model| {
        let cancel = CancelToken::new();
        let (images, _) = model.encode_images(&paths, &cancel).unwrap();
        let answer = answer(model, &ids, &images, 90).unwrap();
        // More than one piece of prompt, and more than one rung.
        assert!(answer.prompt_tokens > crate::support::MAX_PROMPT);
        model.release_images(images);
        answer.tokens
    });
    assert_eq!(answers[0], answers[1]);
    setup.finish(engines);
}

#[test]
fn a_conversation_goes_on_in_the_cache_and_back() {
    let golden = golden("mistral-moe");
    let setup = Setup::new(&golden, MoeKind::Function);
    let mut model = setup.open().unwrap();
    let prompt = &golden.prompts["image_mid"];
    let images = golden_images(&golden, &mut model, prompt);
    let first = answer(&mut model, &prompt.input_ids, &images, 24).unwrap();
    assert_eq!((&first.tokens, first.cached_tokens), (&prompt.greedy_tokens, 0));
    // A second turn: what is in the cache is not computed again.
    let mut ids = prompt.input_ids.clone();
    ids.extend(first.tokens.iter().map(|token| i64::from(*token)));
    ids.extend([7, 8, 9]);
    let second = answer(&mut model, &ids, &images, 40).unwrap();
    assert_eq!(second.cached_tokens, first.prompt_tokens + 23);
    // Back to the first question, and the second turn from nothing: the same answers.
    let back = answer(&mut model, &prompt.input_ids, &images, 24).unwrap();
    assert_eq!(back.tokens, first.tokens);
    assert_eq!(back.cached_tokens, first.prompt_tokens - 1);
    let other = answer(&mut model, &[11, 5, 6], &[], 3).unwrap();
    assert_eq!(other.tokens.len(), 3);
    let anew = answer(&mut model, &ids, &images, 40).unwrap();
    assert_eq!(anew.tokens, second.tokens);
    setup.finish(model);
}

#[test]
fn turns_across_rungs_are_those_of_onnx_runtime_where_moved_rows_overlap_too() {
    let golden = golden("mistral-dense");
    // The last rung is less than twice the one before: rows overlap their own places.
    for context in [200, 130, CONTEXT] {
        let settings = Settings::default();
        let setup = Setup::with_context(&golden, MoeKind::Plugin, &settings, context);
        let mut engines = setup.open().unwrap();
        let mut twins = Model::open(&setup.engines.bundle(), &ModelOptions::default()).unwrap();
        let start: Vec<i64> = golden.prompts["text_only"].input_ids.clone();
        let turn = |model: &mut Model, ids: &[i64], tokens: usize| {
            let answer = answer(model, ids, &[], tokens).unwrap();
            (answer.tokens, answer.cached_tokens)
        };
        // On to the end; back to the lowest rung and on; back to the middle one; and anew.
        let mut behind = start.clone();
        behind.extend((0..60).map(|id| 3 + id % 40));
        let mut other = start.clone();
        other.extend([7, 8, 9]);
        let most = context - behind.len();
        let turns: [(&[i64], usize); 6] = [
            (&start, context - start.len()),
            (&other, 50),
            (&behind, most),
            (&behind[..behind.len() - 20], 60),
            (&[11, 5, 6], context - 3),
            (&start, 70),
        ];
        for (ids, tokens) in turns {
            let want = turn(&mut twins, ids, tokens);
            assert_eq!(turn(&mut engines, ids, tokens), want, "{context}: {} ids", ids.len());
        }
        setup.finish(engines);
    }
}

#[test]
fn only_what_sampling_needs_comes_back_and_only_ids_go_over() {
    let golden = golden("mistral-moe");
    let setup = Setup::new(&golden, MoeKind::Plugin);
    let transfers = |tokens: usize, logprobs: Option<usize>| {
        setup.stand_in.forget();
        let mut model = setup.open().unwrap();
        let prompt = &golden.prompts["text_only"];
        let mut options = greedy(tokens);
        options.sampling.logprobs = logprobs;
        let cancel = CancelToken::new();
        model.generate(&prompt.input_ids, &[], &options, &cancel, &mut |_| ()).unwrap();
        let vocab = model.facts().llm.vocab_size as u64;
        let summary = setup.finish(model);
        (summary.bytes_to_device, summary.bytes_to_host, vocab)
    };
    let (short, long) = (transfers(10, None), transfers(30, None));
    // An id, a position and an index, of 8 bytes each; the best tokens' logits and ids.
    assert_eq!(long.0 - short.0, 20 * 3 * 8);
    assert_eq!(long.1 - short.1, 20 * 64 * (4 + 4));
    // Log-probabilities need a row of logits.
    let (short, long) = (transfers(10, Some(0)), transfers(30, Some(0)));
    assert_eq!(long.1 - short.1, 20 * short.2 * 4);
}

#[test]
fn a_cancelled_prompt_leaves_the_cache_at_a_piece_and_goes_on_from_there() {
    let golden = golden("mistral-moe");
    let setup = Setup::new(&golden, MoeKind::Plugin);
    let mut model = setup.open().unwrap();
    let ids: Vec<i64> = (0..100).map(|index| 3 + index % 40).collect();
    let cancel = CancelToken::new();
    cancel.cancel();
    let options = greedy(5);
    let cancelled = model.generate(&ids, &[], &options, &cancel, &mut |_| ()).unwrap();
    assert_eq!(cancelled.finish_reason, FinishReason::Cancelled);
    assert_eq!((cancelled.tokens.len(), model.executor().cached()), (0, 0));
    // Within the answer: what there is of it.
    cancel.reset();
    let mut seen = 0;
    let stopped = model
        .generate(&ids, &[], &options, &cancel, &mut |_| {
            seen += 1;
            if seen == 3 {
                cancel.clone().cancel();
            }
        })
        .unwrap();
    assert_eq!((stopped.finish_reason, stopped.tokens.len()), (FinishReason::Cancelled, 3));
    let whole = answer(&mut model, &ids, &[], 5).unwrap();
    assert_eq!(whole.tokens[..3], stopped.tokens);
    setup.finish(model);
}
