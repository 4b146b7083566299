//! What is measured of text alone, behind so many positions of the past.

use std::rc::Rc;
use std::time::Duration;

use super::delayed::{EMBED, READ, llm, model, model_of, token, turned_by_hand, waited_for};
use super::*;
use crate::backend::BackendLimits;
use crate::testing;

#[test]
fn prompts_and_tokens_at_depths_take_what_they_are_known_to_take() {
    for behind in [false, true] {
        let mut model = model(&turned_by_hand(), behind);
        let result = measured(&mut model, &options(&[], &[0, 8, 4096]));
        let depths: Vec<u64> = result.prefill.iter().map(|prefill| prefill.depth_tokens).collect();
        assert_eq!(depths, [0, 8]);
        for prefill in &result.prefill {
            let past = prefill.depth_tokens as usize;
            assert_eq!((prefill.tokens, prefill.repetitions_ns.len()), (PROMPT as u64, 3));
            for time in &prefill.repetitions_ns {
                assert_near("a prompt", *time, EMBED + llm(PROMPT, past) + READ);
            }
        }
        for generation in &result.generation {
            let past = generation.depth_tokens as usize;
            assert_eq!((generation.tokens, generation.repetitions_inter_token_ns.len()), (5, 3));
            for times in &generation.repetitions_inter_token_ns {
                assert_eq!(times.len(), 5);
                for (index, time) in times.iter().enumerate() {
                    assert_near("a token", *time, token(past + index));
                }
            }
        }
        assert_eq!(
            result.notes,
            [
                "depth 4096 was skipped: a prompt of 7 tokens behind it needs 4103 positions, the model's context has 64"
            ]
        );
    }
}

#[test]
fn a_depth_that_engines_have_no_room_for_names_their_option() {
    let limits = BackendLimits { cache: Some(testing::CONTEXT), ..BackendLimits::default() };
    let mut model = waited_for(&turned_by_hand(), true, limits, Rc::default());
    let (options, cancel, mut nobody) = (options(&[], &[]), CancelToken::new(), ());
    let mut bench = Bench::new(&mut model, &options, &cancel, &mut nobody);
    assert_eq!(bench.depth_problem(64 - PROMPT), None);
    assert_eq!(
        bench.depth_problem(64).unwrap(),
        "a prompt of 7 tokens behind it needs 71 positions, the engines were built for 64 (cumo-export engine --max-context 71, where the model has room)"
    );
}

#[test]
fn depths_are_a_problem_where_none_has_room_and_what_needs_it_is_named() {
    let problem = |depths: &[usize], tokens: usize| {
        let mut model = model(&turned_by_hand(), false);
        let cancel = CancelToken::new();
        let options = BenchOptions { generate_tokens: tokens, ..options(&[], depths) };
        Bench::new(&mut model, &options, &cancel, &mut ()).depths_problem()
    };
    assert_eq!(problem(&[], 5), None);
    assert_eq!(problem(&[4096, 0], 5), None);
    assert_eq!(
        problem(&[4096, 8192], 9).unwrap(),
        "--depth 4096: 9 tokens behind it need 4105 positions, the model's context has 64"
    );
}

#[test]
fn prompts_go_through_the_model_in_the_pieces_that_graphs_were_built_for() {
    let pieces = |positions: &[usize], depth: usize| -> Duration {
        let mut past = depth;
        let piece = |positions: &usize| {
            past += positions;
            EMBED + llm(*positions, past - positions)
        };
        positions.iter().map(piece).sum()
    };
    for (sequence, of_prompt) in [(3, &[3, 3, 1][..]), (16, &[PROMPT])] {
        let mut model = model_of(&turned_by_hand(), true, Some(sequence));
        let result = measured(&mut model, &options(&[], &[8]));
        for time in &result.prefill[0].repetitions_ns {
            assert_near("a prompt", *time, pieces(of_prompt, 8) + READ);
        }
        for answer in &result.answers {
            let known = pieces(of_prompt, 0) + READ;
            assert_near("the same in an answer", answer.first_token.total_ns, known);
        }
    }
}
