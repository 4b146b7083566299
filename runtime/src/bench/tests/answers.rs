//! What is measured of answers: the parts of the first token, and the tokens behind it.

use std::cell::Cell;
use std::rc::Rc;

use cumo_results::schema::Answer;

use super::delayed::{
    CONNECTOR, COPY, EMBED, Passing, READ, VISION, WRITE_PIXELS, llm, model, token, turned_by_hand,
    waited_for,
};
use super::*;
use crate::backend::BackendLimits;
use crate::testing::IMAGE_TOKENS;

fn assert_first_token(answer: &Answer) {
    let parts = answer.first_token;
    assert_near("copy", parts.copy_ns.unwrap(), WRITE_PIXELS + COPY);
    assert_near("vision", parts.vision_ns.unwrap(), VISION);
    assert_near("connector", parts.connector_ns.unwrap(), CONNECTOR);
    assert_near("splice", parts.splice_ns.unwrap(), EMBED + COPY);
    assert_near("prefill", parts.prefill_ns.unwrap(), llm(PROMPT + IMAGE_TOKENS, 0));
    assert_near("first sample", parts.first_sample_ns.unwrap(), READ);
    let residual = parts.residual_ns();
    let total = parts.total_ns as f64;
    assert!((0.0..0.02 * total).contains(&residual), "{residual} of {total}");
}

#[test]
fn parts_of_the_first_token_are_what_they_are_known_to_be_and_sum_up() {
    for behind in [false, true] {
        let image = SyntheticImage::new().unwrap();
        let mut model = model(&turned_by_hand(), behind);
        let result = measured(&mut model, &options(&[image.path()], &[]));
        assert_eq!(result.answers.len(), 3);
        for answer in &result.answers {
            assert_first_token(answer);
            let known = WRITE_PIXELS
                + COPY
                + VISION
                + CONNECTOR
                + EMBED
                + COPY
                + llm(PROMPT + IMAGE_TOKENS, 0)
                + READ;
            assert_near("the whole", answer.first_token.total_ns, known);
            assert_eq!(answer.inter_token_ns.len(), 4);
            for (index, gap) in answer.inter_token_ns.iter().enumerate() {
                assert_near("a token", *gap, token(PROMPT + IMAGE_TOKENS + index));
            }
        }
        assert_eq!(result.memory.peak_device_bytes, behind.then_some(12_345));
        assert_eq!(result.memory.cache_bytes, Some(model.executor().cache_bytes() as u64));
        // Two heads of one number of 4 bytes for each position.
        let positions = (PROMPT + IMAGE_TOKENS + 4) as u64;
        assert!(result.memory.cache_bytes.unwrap() >= 8 * positions, "{:?}", result.memory);
    }
}

#[test]
fn without_images_their_parts_are_absent_and_not_zero() {
    let mut model = model(&turned_by_hand(), true);
    let result = measured(&mut model, &options(&[], &[]));
    let parts = result.answers[0].first_token;
    assert_eq!(
        (parts.decode_image_ns, parts.vision_ns, parts.connector_ns, parts.copy_ns),
        (None, None, None, None)
    );
    assert_near("the whole", parts.total_ns, EMBED + llm(PROMPT, 0) + READ);
}

#[test]
fn an_answer_that_fills_the_context_says_how_long_it_is() {
    let mut model = model(&turned_by_hand(), false);
    let options = BenchOptions { prompt_tokens: 60, ..options(&[], &[]) };
    let result = measured(&mut model, &options);
    assert_eq!(result.notes, ["answers have 4 tokens instead of 5: the model's context is full"]);
}

#[test]
fn behind_the_first_token_nothing_is_waited_for_but_what_is_read() {
    let waits_of = |tokens: usize| {
        let waits = Rc::new(Cell::new(0));
        let mut model =
            waited_for(&turned_by_hand(), true, BackendLimits::default(), waits.clone());
        let image = SyntheticImage::new().unwrap();
        let options =
            BenchOptions { generate_tokens: tokens, warmup: 0, ..options(&[image.path()], &[]) };
        let result = measured(&mut model, &options);
        assert_eq!(result.answers[0].inter_token_ns.len(), tokens - 1);
        waits.get()
    };
    assert_eq!(waits_of(1), waits_of(9));
    assert!(waits_of(1) >= 3 * 4, "every stage is waited for: {}", waits_of(1));
}

/// With the system's own clock, on a machine that may have other things to do: nothing is measured
/// as shorter than it is.
#[test]
fn real_delays_are_in_the_real_times() {
    let image = SyntheticImage::new().unwrap();
    let mut model = model(&Passing::Sleep, true);
    let options = BenchOptions { repetitions: 1, warmup: 0, ..options(&[image.path()], &[]) };
    let result = measured(&mut model, &options);
    let parts = result.answers[0].first_token;
    assert!(parts.decode_image_ns.unwrap() > 0 && parts.preprocess_ns.unwrap() > 0);
    assert!(parts.vision_ns.unwrap() >= nanoseconds(VISION));
    assert!(parts.connector_ns.unwrap() >= nanoseconds(CONNECTOR));
    assert!(parts.prefill_ns.unwrap() >= nanoseconds(llm(PROMPT + IMAGE_TOKENS, 0)));
    assert!(parts.residual_ns() >= 0.0);
}
