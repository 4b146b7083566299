//! The loop and the executor below it, over a model that is known by heart.

use std::path::Path;

use cumo_processor::Tokenizer;

use super::*;
use crate::testing::{self, CONTEXT, Form, POISON, greedy, image_values, next_token};

fn options(max_new_tokens: usize) -> GenerateOptions {
    GenerateOptions {
        max_new_tokens,
        sampling: SamplingOptions::greedy(),
        ..GenerateOptions::default()
    }
}

fn ask(
    generator: &mut Generator,
    ids: &[i64],
    images: &[ImageEmbeds],
    options: &GenerateOptions,
) -> Result<Answer, Error> {
    let request = Request { ids, images, options, tokenizer: None };
    generator.generate(&request, &CancelToken::new(), &mut |_| ())
}

fn values(ids: &[i64]) -> Vec<f32> {
    ids.iter().map(|id| *id as f32).collect()
}

#[test]
fn tokens_are_the_models_with_either_cache() {
    for form in Form::ALL {
        let (mut generator, _) = testing::generator(form);
        let answer = ask(&mut generator, &[1, 5, 7], &[], &options(20)).unwrap();
        assert_eq!(answer.tokens, greedy(&[1.0, 5.0, 7.0], 20));
        assert_eq!(answer.finish_reason, FinishReason::Length);
        assert_eq!((answer.prompt_tokens, answer.image_tokens), (3, 0));
        assert_eq!(answer.times.decode_passes, 19);
    }
}

#[test]
fn images_are_put_into_their_places() {
    for form in Form::ALL {
        let (mut generator, _) = testing::generator(form);
        let pixels: Vec<f32> = [4.0, 9.0].into_iter().flat_map(|pixel| [pixel; 12]).collect();
        let images = generator.executor().encode_images(&pixels).unwrap();
        let answer = ask(&mut generator, &[1, -200, 6, -200], &images, &options(8)).unwrap();
        let prompt = [&[1.0][..], &image_values(4.0), &[6.0], &image_values(9.0)].concat();
        assert_eq!(answer.tokens, greedy(&prompt, 8));
        assert_eq!((answer.prompt_tokens, answer.image_tokens), (8, 6));
    }
}

#[test]
fn images_are_encoded_some_at_a_time_and_the_next_have_their_memory() {
    let (mut generator, seen) = testing::generator(Form::Append);
    let pixels: Vec<f32> = (0..7).flat_map(|pixel| [pixel as f32; 12]).collect();
    let images = generator.executor().encode_images(&pixels).unwrap();
    // Five crops an image, so three images make fifteen of the sixteen crops of a pass.
    let sizes: Vec<usize> = seen.borrow().runs.iter().map(|run| run.1).collect();
    assert_eq!(sizes, [3, 3, 3, 3, 1, 1]);
    let prompt = [1, -200, -200, -200, -200, -200, -200, -200];
    let answer = ask(&mut generator, &prompt, &images, &options(1)).unwrap();
    let expected: Vec<f32> =
        [1.0].into_iter().chain((0..7).flat_map(|pixel| image_values(pixel as f32))).collect();
    assert_eq!(answer.tokens, [next_token(&expected)]);
    let before = (seen.borrow().allocations, seen.borrow().releases);
    for image in images {
        generator.executor().release_images(image);
    }
    generator.executor().encode_images(&pixels).unwrap();
    assert_eq!((seen.borrow().allocations, seen.borrow().releases), before);
}

#[test]
fn what_two_prompts_share_is_computed_once() {
    for form in Form::ALL {
        let (mut generator, seen) = testing::generator(form);
        let first = ask(&mut generator, &[1, 5, 7, 9], &[], &options(4)).unwrap();
        // The next turn: what was said, the answer, and a question.
        let mut ids = vec![1, 5, 7, 9];
        ids.extend(first.tokens.iter().map(|token| i64::from(*token)));
        ids.extend([2, 8]);
        seen.borrow_mut().runs.clear();
        let second = ask(&mut generator, &ids, &[], &options(4)).unwrap();
        assert_eq!(second.tokens, greedy(&values(&ids), 4));
        // The last token of the first answer was never run.
        assert_eq!(second.cached_tokens, 7);
        let prefilled = seen.borrow().runs.iter().find(|run| run.0 != "embed").map(|run| run.1);
        assert_eq!(prefilled, Some(3));

        // A prompt that parts early shortens the cache.
        let third = ask(&mut generator, &[1, 5, 4], &[], &options(6)).unwrap();
        assert_eq!(third.cached_tokens, 2);
        assert_eq!(third.tokens, greedy(&[1.0, 5.0, 4.0], 6));
        // The same again: all but its last position is there.
        let again = ask(&mut generator, &[1, 5, 4], &[], &options(6)).unwrap();
        assert_eq!((again.cached_tokens, again.tokens), (2, third.tokens));
    }
}

#[test]
fn another_image_in_the_same_place_is_computed_anew() {
    let (mut generator, _) = testing::generator(Form::InPlace);
    let images = generator.executor().encode_images(&[[4.0; 12], [9.0; 12]].concat()).unwrap();
    let ids = [1, -200, 6];
    let first = ask(&mut generator, &ids, &images[..1], &options(3)).unwrap();
    let second = ask(&mut generator, &ids, &images[1..], &options(3)).unwrap();
    assert_eq!(second.cached_tokens, 1);
    assert_ne!(first.tokens, second.tokens);
    assert_eq!(second.tokens, greedy(&[&[1.0][..], &image_values(9.0), &[6.0]].concat(), 3));
    let third = ask(&mut generator, &ids, &images[1..], &options(3)).unwrap();
    assert_eq!(third.cached_tokens, 4);
}

#[test]
fn the_cache_grows_between_turns_and_keeps_what_it_has() {
    for form in Form::ALL {
        let (mut generator, _) = testing::generator(form);
        for turn in 1..6 {
            let executor = generator.executor();
            let positions: Vec<Position> = (3..6).map(Position::Token).collect();
            // Half of the turns leave it to the pass itself.
            if turn % 2 == 0 {
                executor.reserve(positions.len() * turn, 3).unwrap();
            }
            executor.forward(&positions, &[]).unwrap();
            let mut scores = Vec::new();
            executor.logits(&mut scores).unwrap();
            let expected = next_token(&[3.0, 4.0, 5.0].repeat(turn));
            assert_eq!(scores[expected as usize], 5.0, "{form:?}, turn {turn}");
        }
    }
}

#[test]
fn nothing_is_allocated_for_a_token() {
    for form in Form::ALL {
        let (mut generator, seen) = testing::generator(form);
        let options = options(40);
        let request = Request { ids: &[1, 5], images: &[], options: &options, tokenizer: None };
        let mut allocations = Vec::new();
        let mut count = |_: Event<'_>| allocations.push(seen.borrow().allocations);
        generator.generate(&request, &CancelToken::new(), &mut count).unwrap();
        assert_eq!(allocations.len(), 40);
        assert_eq!(allocations[0], allocations[39]);
    }
}

#[test]
fn an_answer_ends_at_eos_unless_it_is_ignored() {
    let (mut generator, _) = testing::generator(Form::Append);
    let eos = GenerateOptions {
        sampling: SamplingOptions {
            logit_bias: vec![(2, 4.5)],
            presence_penalty: -0.1,
            ..SamplingOptions::greedy()
        },
        ..options(5)
    };
    // EOS has 4.5, the best token 5; a token that comes a second time would have 5.1.
    let plain = ask(&mut generator, &[1, 5], &[], &eos).unwrap();
    assert_eq!(plain.end_token, None);
    let biased = GenerateOptions {
        sampling: SamplingOptions { logit_bias: vec![(2, 6.0)], ..SamplingOptions::greedy() },
        ..options(5)
    };
    let ended = ask(&mut generator, &[1, 5], &[], &biased).unwrap();
    assert_eq!((ended.finish_reason, ended.end_token), (FinishReason::Stop, Some(2)));
    assert!(ended.tokens.is_empty());
    let ignoring = GenerateOptions { ignore_eos: true, ..biased };
    let went_on = ask(&mut generator, &[1, 5], &[], &ignoring).unwrap();
    assert_eq!((went_on.finish_reason, went_on.tokens), (FinishReason::Length, vec![2; 5]));
}

#[test]
fn an_answer_ends_where_the_context_does() {
    let (mut generator, _) = testing::generator(Form::InPlace);
    let ids = vec![1; CONTEXT - 3];
    let answer = ask(&mut generator, &ids, &[], &options(100)).unwrap();
    assert_eq!((answer.tokens.len(), answer.finish_reason), (3, FinishReason::Length));
    assert_eq!(answer.max_new_tokens, 3);
    let error = ask(&mut generator, &vec![1; CONTEXT], &[], &options(1)).unwrap_err();
    assert!(error.to_string().contains("the model's context has 64"), "{error}");
}

#[test]
fn nothing_runs_for_a_request_that_cannot_be_answered() {
    let (mut generator, seen) = testing::generator(Form::Append);
    let wrong = GenerateOptions {
        sampling: SamplingOptions { top_p: 0.0, ..SamplingOptions::default() },
        ..options(1)
    };
    let stop = GenerateOptions { stop: vec!["x".to_owned()], ..options(1) };
    assert!(matches!(ask(&mut generator, &[], &[], &options(1)), Err(Error::Prompt(_))));
    assert!(matches!(ask(&mut generator, &[1, -200], &[], &options(1)), Err(Error::Prompt(_))));
    assert!(matches!(ask(&mut generator, &[1], &[], &wrong), Err(Error::Option { .. })));
    assert!(matches!(ask(&mut generator, &[1], &[], &stop), Err(Error::NoTokenizer)));
    assert!(seen.borrow().runs.is_empty() && seen.borrow().allocations == 0);
}

#[test]
fn a_cancelled_answer_keeps_its_tokens_and_the_next_one_is_whole() {
    for form in Form::ALL {
        let (mut generator, _) = testing::generator(form);
        let options = options(10);
        let request = Request { ids: &[1, 5], images: &[], options: &options, tokenizer: None };
        let cancel = CancelToken::new();
        let mut tokens = 0;
        let answer = generator
            .generate(&request, &cancel, &mut |_| {
                tokens += 1;
                if tokens == 3 {
                    cancel.cancel();
                }
            })
            .unwrap();
        assert_eq!(answer.finish_reason, FinishReason::Cancelled);
        assert_eq!(answer.tokens, greedy(&[1.0, 5.0], 3));

        // Before anything: no token at all.
        let none = generator.generate(&request, &cancel, &mut |_| ()).unwrap();
        assert_eq!((none.finish_reason, none.tokens.len()), (FinishReason::Cancelled, 0));
        cancel.reset();
        let whole = generator.generate(&request, &cancel, &mut |_| ()).unwrap();
        assert_eq!(whole.tokens, greedy(&[1.0, 5.0], 10));
    }
}

#[test]
fn a_failed_pass_leaves_the_cache_as_it_was() {
    for form in Form::ALL {
        let (mut generator, seen) = testing::generator(form);
        seen.borrow_mut().fail_at = Some(7);
        let error = ask(&mut generator, &[1, 5, 6], &[], &options(10)).unwrap_err();
        assert!(error.to_string().ends_with("failed: as asked"), "{error}");
        seen.borrow_mut().fail_at = None;
        let answer = ask(&mut generator, &[1, 5, 6], &[], &options(10)).unwrap();
        assert_eq!(answer.tokens, greedy(&[1.0, 5.0, 6.0], 10));
    }
}

#[test]
fn logits_that_are_not_numbers_are_an_error() {
    for form in Form::ALL {
        let (mut generator, _) = testing::generator(form);
        let error = ask(&mut generator, &[1, i64::from(POISON)], &[], &options(1)).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("behind position 2 are not finite (token 0 has NaN)"), "{text}");
    }
}

#[test]
fn a_long_prompt_goes_through_in_chunks_and_can_be_cancelled_between_them() {
    let (mut generator, seen) = testing::generator(Form::Append);
    generator.model.llm.context_length = 1000;
    let ids = vec![1; 2 * PREFILL_CHUNK + 10];
    ask(&mut generator, &ids, &[], &options(1)).unwrap();
    let sizes: Vec<usize> =
        seen.borrow().runs.iter().filter(|run| run.0 == "llm").map(|run| run.1).collect();
    assert_eq!(sizes, [PREFILL_CHUNK, PREFILL_CHUNK, 10]);
    // Each piece, of an embedding and the model, is waited for: a device works behind its caller.
    assert_eq!(seen.borrow().waits, [2, 4, 6]);
}

#[test]
fn a_stop_string_ends_the_text_before_it_and_events_say_the_same_as_the_answer() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/goldens/tokenizer.model");
    let tokenizer = Tokenizer::open(&path).unwrap();
    let (mut generator, _) = testing::generator(Form::Append);
    // Tokens 3 and up are the bytes 0 and up.
    let tokens = greedy(&[1.0, 5.0], 6);
    let text: String = tokens.iter().map(|token| char::from(*token as u8 - 3)).collect();
    let stop = text[3..5].to_owned();
    let end = text.find(&stop).unwrap();
    let options = GenerateOptions { stop: vec![stop], ..options(6) };
    let request =
        Request { ids: &[1, 5], images: &[], options: &options, tokenizer: Some(&tokenizer) };
    let (mut said, mut chosen) = (String::new(), Vec::new());
    let answer = generator
        .generate(&request, &CancelToken::new(), &mut |event| match event {
            Event::Text(text) => said += text,
            Event::Token(token) => chosen.push(token),
        })
        .unwrap();
    assert_eq!(answer.finish_reason, FinishReason::StopString);
    assert_eq!(answer.text.as_deref(), Some(&text[..end]));
    assert_eq!((said.as_str(), chosen.as_slice()), (&text[..end], answer.tokens.as_slice()));
    assert_eq!(answer.tokens, tokens[..end + 2]);
}

#[test]
fn logprobs_come_with_every_token() {
    let (mut generator, _) = testing::generator(Form::Append);
    let options = GenerateOptions {
        sampling: SamplingOptions { logprobs: Some(2), ..SamplingOptions::greedy() },
        ..options(3)
    };
    let answer = ask(&mut generator, &[1, 5], &[], &options).unwrap();
    assert_eq!(answer.logprobs.len(), 3);
    for (token, probs) in answer.tokens.iter().zip(&answer.logprobs) {
        assert_eq!((probs.top[0].token, probs.top.len()), (*token, 2));
        assert_eq!(probs.top[0], probs.chosen);
        // 5 against 4 and thirty zeros.
        let sum = 5.0_f32.exp() + 4.0_f32.exp() + 30.0;
        assert!((probs.chosen.logprob - (5.0 - sum.ln())).abs() < 1e-5);
    }
}

#[test]
fn of_a_devices_logits_only_what_sampling_needs_is_read() {
    let (mut generator, backend) = testing::generator_on_device(Form::LayersInPlace);
    let answer = ask(&mut generator, &[1, 5, 7], &[], &options(10)).unwrap();
    assert_eq!(answer.tokens, greedy(&[1.0, 5.0, 7.0], 10));
    // The logits and ids of two tokens, ten times.
    assert_eq!(backend.borrow().read_bytes, 10 * 2 * (4 + 4));
    let mut all = options(10);
    all.sampling.logprobs = Some(0);
    let answer = ask(&mut generator, &[1, 5, 7], &[], &all).unwrap();
    assert_eq!(answer.tokens, greedy(&[1.0, 5.0, 7.0], 10));
    assert_eq!(backend.borrow().read_bytes, 10 * 2 * (4 + 4) + 10 * 4 * testing::VOCAB);
}
