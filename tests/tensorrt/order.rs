//! When work is done and in which order: not by luck.

use cumo_export::MoeKind;
use cumo_standin::Settings;
use cumo_tests::Golden;

use crate::support::{Setup, answer, assert_answers, golden};

/// The other tests run work as late as it may be.
#[test]
fn work_that_is_done_at_once_gives_the_same_tokens() {
    for golden in Golden::all() {
        let settings = Settings { is_eager: true, ..Settings::default() };
        let setup = Setup::with(&golden, MoeKind::Plugin, &settings);
        let mut model = setup.open().unwrap();
        assert_answers(&golden, &mut model);
        setup.finish(model);
    }
}

#[test]
fn a_token_is_one_launch_with_copies_and_an_embedding_around_it() {
    let golden = golden("mistral-moe");
    let settings = Settings { is_traced: true, ..Settings::default() };
    let setup = Setup::with(&golden, MoeKind::Plugin, &settings);
    let mut model = setup.open().unwrap();
    let prompt = &golden.prompts["text_only"];
    let tokens = prompt.greedy_tokens.len();
    let answer = answer(&mut model, &prompt.input_ids, &[], tokens).unwrap();
    assert_eq!(answer.tokens, prompt.greedy_tokens);
    setup.finish(model);

    let trace = setup.stand_in.trace();
    let is_launch = |line: &String| line.contains("launch a graph");
    let launches: Vec<usize> =
        trace.iter().enumerate().filter(|(_, line)| is_launch(line)).map(|(at, _)| at).collect();
    // The prompt gives the first token, and the second comes step by step.
    assert_eq!(launches.len(), tokens - 2, "{trace:#?}");
    for pair in launches.windows(2) {
        let between = &trace[pair[0] + 1..pair[1]];
        let count = |part: &str| between.iter().filter(|line| line.contains(part)).count();
        let known = ["bytes to the device", "bytes to the host", "event", "synchronize", "execute"];
        let counts = known.map(count);
        assert_eq!(counts.iter().sum::<usize>(), between.len(), "{between:#?}");
        // Logits, one wait for them, and the id's row of the embeddings.
        assert_eq!((counts[1], counts[3], counts[4]), (1, 1, 1), "{between:#?}");
        assert_eq!(count("execute `embed_tokens`"), 1, "{between:#?}");
    }
}
