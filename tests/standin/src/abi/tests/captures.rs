//! Captures record, launches repeat; what cannot be captured is found.

use super::*;
use crate::sys::code;

#[test]
fn what_is_captured_runs_when_it_is_launched_each_time_anew() {
    let rig = Rig::new();
    let twice = rig.twice(1);
    let input = rig.buffer(16);
    let mut out = [0f32; 4];
    let pinned = rig.pin(16).cast::<f32>();
    ok(rig.write(twice.x, &[1f32; 4]));
    ok(twice.enqueue(&rig));
    ok(rig.wait());
    rig.begin();
    ok(rig.copy(twice.x, input, 16));
    ok(twice.enqueue(&rig));
    // SAFETY: as the header says.
    ok(unsafe { cumo_trt_copy_to_host(rig.stream, pinned.cast(), twice.y, 16) });
    let graph = made(|out| {
        rig.end({
            // SAFETY: `made` gives an address to write to.
            unsafe { &mut *out }
        })
    });
    ok(rig.read(&mut out, twice.y));
    ok(rig.wait());
    assert_eq!(out, [2.0; 4], "nothing was run by capturing");
    for value in [3f32, 5.0] {
        ok(rig.write(input, &[value; 4]));
        ok(rig.launch(graph));
        ok(rig.wait());
        // SAFETY: four numbers were copied there.
        assert_eq!(unsafe { pinned.add(3).read() }, 2.0 * value);
    }
    // SAFETY: as the header says.
    unsafe {
        cumo_trt_graph_free(graph);
        cumo_trt_host_free(rig.runtime, pinned.cast());
    }
    twice.free(&rig);
    rig.free(input);
    assert_eq!(rig.end_of_all(), [""; 0]);
}

/// What must not be done while a graph is captured, spoils the capture, and not the stream.
#[track_caller]
fn spoils(what: impl FnOnce(&Rig, &Twice) -> Option<(i32, String)>, part: &str) {
    let mut settings = Settings::default();
    settings.device.as_mut().unwrap().is_integrated = true;
    let rig = Rig::with(&settings);
    let twice = rig.twice(1);
    ok(rig.fill(twice.x, 0, 16));
    ok(twice.enqueue(&rig));
    rig.begin();
    let found = what(&rig, &twice);
    rig.was_violated(part);
    assert!(found.is_none_or(|(code, text)| code == code::CUDA && text.contains(part)));
    let mut graph = ptr::null_mut();
    fails(rig.end(&mut graph), code::CUDA, "the capture was spoiled: ");
    assert!(graph.is_null());
    ok(rig.wait());
}

#[test]
fn what_cannot_be_captured_spoils_the_capture() {
    spoils(|rig, _| outcome(rig.alloc(8, &mut 0)), "memory was allocated");
    let free = |rig: &Rig, twice: &Twice| {
        rig.free(twice.x);
        None
    };
    spoils(free, "memory was freed");
    spoils(|rig, _| outcome(rig.wait()), "a stream was waited for");
    spoils(|rig, twice| outcome(rig.write(twice.x, &[0u8; 4])), "pageable memory");
    spoils(|rig, twice| outcome(rig.read(&mut [0u8; 4], twice.x)), "pageable memory");
    let load = |rig: &Rig, _: &Twice| {
        let engine = rig.build(&super::twice(), &[("x", [&[1, 4]; 3])]);
        outcome(rig.load(&engine, &mut ptr::null_mut()))
    };
    spoils(load, "an engine was loaded");
    let pin = |rig: &Rig, _: &Twice| {
        // SAFETY: as the header says.
        outcome(unsafe { cumo_trt_host_alloc(rig.runtime, 8, &mut ptr::null_mut()) })
    };
    spoils(pin, "pinned memory was allocated");
    let profile = |rig: &Rig, twice: &Twice| {
        // SAFETY: as the header says.
        outcome(unsafe { cumo_trt_context_set_profile(twice.context, 0, rig.stream) })
    };
    spoils(profile, "a profile was chosen");
    let context = |_: &Rig, twice: &Twice| {
        // SAFETY: as the header says.
        outcome(unsafe { cumo_trt_context_create(twice.engine, 0, &mut ptr::null_mut()) })
    };
    spoils(context, "a context was made");
    let begin = |rig: &Rig, _: &Twice| {
        // SAFETY: as the header says.
        outcome(unsafe { cumo_trt_graph_begin(rig.stream) })
    };
    spoils(begin, "a capture was begun");
    let record = |rig: &Rig, _: &Twice| {
        // SAFETY: as the header says.
        unsafe {
            let event = made(|out| cumo_trt_event_create(rig.runtime, out));
            outcome(cumo_trt_event_record(event, rig.stream))
        }
    };
    spoils(record, "an event was recorded");
}

#[test]
fn an_execution_that_did_not_run_before_with_its_shapes_is_not_captured() {
    let rig = Rig::new();
    let twice = rig.twice(2);
    rig.begin();
    fails(twice.enqueue(&rig), code::CUDA, "for the first time with its shapes");
    assert!(outcome(rig.end(&mut ptr::null_mut())).is_some());
    ok(rig.fill(twice.x, 0, 32));
    ok(twice.enqueue(&rig));
    ok(twice.shape(1));
    rig.begin();
    fails(twice.enqueue(&rig), code::CUDA, "for the first time with its shapes");
}

#[test]
fn a_graph_of_a_context_that_was_changed_or_freed_is_found() {
    for is_freed in [false, true] {
        let rig = Rig::new();
        let twice = rig.twice(2);
        ok(rig.fill(twice.x, 0, 32));
        ok(twice.enqueue(&rig));
        rig.begin();
        ok(twice.enqueue(&rig));
        let mut graph = ptr::null_mut();
        ok(rig.end(&mut graph));
        match is_freed {
            // SAFETY: as the header says, but for the graph.
            true => unsafe { cumo_trt_context_free(twice.context) },
            false => ok(twice.shape(1)),
        }
        let part = if is_freed { "whose context was freed" } else { "whose context was changed" };
        fails(rig.launch(graph), code::CUDA, part);
        rig.was_violated(part);
    }
}

#[test]
fn a_graph_whose_memory_was_freed_is_found() {
    let rig = Rig::new();
    let (a, b) = (rig.filled(4), rig.buffer(4));
    rig.begin();
    ok(rig.copy(b, a, 4));
    let mut graph = ptr::null_mut();
    ok(rig.end(&mut graph));
    ok(rig.launch(graph));
    ok(rig.wait());
    rig.free(a);
    ok(rig.launch(graph));
    assert!(outcome(rig.wait()).is_some());
    rig.was_violated("4 bytes that was freed");
}

#[test]
fn ending_a_capture_that_was_not_begun_is_found() {
    let rig = Rig::new();
    fails(rig.end(&mut ptr::null_mut()), code::CUDA, "not begun");
}
