//! Faults in the middle: memory that is not to be had, a device that is lost.

use std::time::{Duration, Instant};

use cumo_export::MoeKind;
use cumo_runtime::backend::BackendError;
use cumo_runtime::{CancelToken, Error, Model};
use cumo_standin::Settings;
use cumo_tests::Golden;

use crate::support::{Setup, answer, golden};

/// All that allocates: opening, images, a prompt of several pieces, decoding over a rung.
fn work(golden: &Golden, model: &mut Model) -> Result<Vec<u32>, Error> {
    let paths = ["wide", "gray"].map(|name| golden.image(name));
    let (images, _) = model.encode_images(&paths, &CancelToken::new())?;
    let prompt = &golden.prompts["two_images"];
    let result = answer(model, &prompt.input_ids, &images, 24);
    model.release_images(images);
    Ok(result?.tokens)
}

#[test]
fn memory_that_is_not_to_be_had_is_an_error_wherever_it_is_asked_for() {
    let golden = golden("mistral-moe");
    let setup = Setup::new(&golden, MoeKind::Plugin);
    let mut model = setup.open().unwrap();
    let want = work(&golden, &mut model).unwrap();
    let summary = setup.finish(model);
    let allocations = summary.allocations;
    let (mut failed, mut went_on) = (0, 0);
    for allocation in 1.. {
        let fail_allocation = Some(allocation);
        setup.stand_in.set(&Settings { fail_allocation, ..Settings::default() }).unwrap();
        let result = setup.open().and_then(|mut model| {
            let first = work(&golden, &mut model);
            if let Err(error) = &first {
                // The model is as good as before.
                assert_eq!(work(&golden, &mut model).unwrap(), want, "after {error}");
                went_on += 1;
            }
            drop(model);
            first
        });
        setup.nothing_is_wrong();
        // What was made before it failed was given back before it was tried again.
        let peak = setup.stand_in.summary().unwrap().peak_bytes;
        assert!(peak <= summary.peak_bytes, "at {allocation}: {peak} of {}", summary.peak_bytes);
        match result {
            Ok(tokens) => assert_eq!(tokens, want, "at {allocation}"),
            Err(Error::Backend(error @ BackendError::DeviceFull { .. })) => {
                failed += 1;
                assert!(error.to_string().contains("no memory left"), "{error}");
            }
            Err(error) => panic!("at {allocation}: {error:?}"),
        }
        if allocation > allocations {
            break;
        }
    }
    // A graph that cannot be recorded is no error.
    assert!(failed + 4 >= allocations && went_on > 10, "{failed} of {allocations}, {went_on}");
}

#[test]
fn a_graph_that_cannot_be_recorded_is_told_once_and_the_answer_is_the_same() {
    let golden = golden("mistral-moe");
    let setup = Setup::new(&golden, MoeKind::Plugin);
    let prompt = &golden.prompts["text_only"];
    let mut noted = 0;
    for allocation in 1..400 {
        let fail_allocation = Some(allocation);
        setup.stand_in.set(&Settings { fail_allocation, ..Settings::default() }).unwrap();
        let Ok(mut model) = setup.open() else { continue };
        let Ok(found) = answer(&mut model, &prompt.input_ids, &[], 24) else { continue };
        assert_eq!(found.tokens, prompt.greedy_tokens);
        let notes = model.take_notes();
        assert!(model.take_notes().is_empty());
        let summary = setup.finish(model);
        if let [note] = notes.as_slice() {
            assert!(note.contains("cannot be recorded as one CUDA graph"), "{note}");
            assert_eq!(summary.launches, 0);
            noted += 1;
        } else {
            assert!(notes.is_empty());
            break;
        }
    }
    assert_eq!(noted, 1);
}

#[test]
fn a_device_that_is_lost_in_mid_answer_is_an_error_and_no_hang() {
    let golden = golden("mistral-moe");
    let setup = Setup::new(&golden, MoeKind::Plugin);
    let mut model = setup.open().unwrap();
    let prompt = &golden.prompts["text_only"];
    answer(&mut model, &prompt.input_ids, &[], 24).unwrap();
    let executions = setup.finish(model).executions;
    for execution in [1, 2, executions / 3, executions / 2, executions] {
        let lose_device_at_execution = Some(execution);
        setup.stand_in.set(&Settings { lose_device_at_execution, ..Settings::default() }).unwrap();
        let mut model = setup.open().unwrap();
        let start = Instant::now();
        for _ in 0..2 {
            let error = answer(&mut model, &prompt.input_ids, &[], 24).unwrap_err();
            let lost = matches!(error, Error::Backend(BackendError::Device { .. }));
            assert!(lost, "at {execution}: {error:?}");
        }
        assert!(start.elapsed() < Duration::from_secs(60));
        setup.finish(model);
    }
}

#[test]
fn a_device_that_is_lost_at_any_of_sixty_calls_throughout_is_an_error() {
    let golden = golden("mistral-moe");
    let setup = Setup::new(&golden, MoeKind::Plugin);
    let mut model = setup.open().unwrap();
    let want = work(&golden, &mut model).unwrap();
    let calls = setup.finish(model).calls;
    let step = (calls / 60).max(1) as usize;
    for call in (1..=calls).step_by(step) {
        let lose_device_at_call = Some(call);
        setup.stand_in.set(&Settings { lose_device_at_call, ..Settings::default() }).unwrap();
        let result = setup.open().and_then(|mut model| work(&golden, &mut model));
        match result {
            // In what is freed at the end, which nobody is told of.
            Ok(tokens) => assert_eq!(tokens, want),
            Err(Error::Backend(_) | Error::Bundle(_)) => {}
            Err(error) => panic!("at {call}: {error:?}"),
        }
        setup.nothing_is_wrong();
    }
}
