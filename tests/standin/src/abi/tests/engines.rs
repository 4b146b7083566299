//! Parsing, building, loading and running engines.

use super::*;
use crate::sys::code;

#[test]
fn an_engine_computes_what_its_graph_says() {
    let rig = Rig::new();
    let twice = rig.twice(2);
    let mut out = [0f32; 8];
    ok(rig.write(twice.x, &[1f32, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]));
    ok(twice.enqueue(&rig));
    ok(rig.read(&mut out, twice.y));
    ok(rig.wait());
    assert_eq!(out, [2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0]);
    twice.free(&rig);
    assert_eq!(rig.end_of_all(), [""; 0]);
}

#[test]
fn a_tensor_that_is_not_as_large_as_its_shape_is_found() {
    for tensor in ["x", "y"] {
        let rig = Rig::new();
        let twice = rig.twice(2);
        ok(rig.fill(twice.x, 0, 32));
        ok(twice.set(tensor, rig.filled(31)));
        ok(twice.enqueue(&rig));
        fails(rig.wait(), code::CUDA, "32 bytes at");
        rig.was_violated(&format!("execution of `twice`: `{tensor}`: 32 bytes at"));
    }
}

#[test]
fn an_input_that_nothing_wrote_is_found() {
    let rig = Rig::new();
    let twice = rig.twice(1);
    ok(rig.fill(twice.x, 0, 15));
    ok(twice.enqueue(&rig));
    fails(rig.wait(), code::CUDA, "bytes 15..16 of 16");
    rig.was_violated("`x`: bytes 15..16 of 16");
}

#[test]
fn an_output_over_an_input_is_found() {
    let rig = Rig::new();
    let twice = rig.twice(1);
    ok(rig.fill(twice.x, 0, 16));
    ok(twice.set("y", twice.x));
    ok(twice.enqueue(&rig));
    assert!(outcome(rig.wait()).is_some());
    rig.was_violated("`y` lies over `x`");
}

#[test]
fn a_tensor_at_an_odd_address_is_found() {
    let rig = Rig::new();
    let twice = rig.twice(1);
    let memory = rig.buffer(1024);
    ok(twice.set("x", memory + 256));
    fails(twice.set("x", memory + 128), code::CUDA, "no multiple of 256");
    rig.was_violated("no multiple of 256");
    assert!(outcome(twice.another(true).set_memory(memory + 64, 256)).is_some());
    rig.was_violated("activation memory: ");
}

#[test]
fn shapes_outside_the_profile_and_missing_addresses_are_refused() {
    let rig = Rig::new();
    let twice = rig.twice(4);
    fails(twice.shape(5), code::RUN, "[5, 4] is not within [1, 4] to [4, 4] of profile 0");
    fails(twice.set("z", 1), code::RUN, "there is no tensor `z`");
    let bare = twice.another(false);
    fails(bare.enqueue(&rig), code::RUN, "the shape of `x` is not known");
    ok(bare.shape(1));
    fails(bare.enqueue(&rig), code::RUN, "`x` has no address");
    assert_eq!(rig.stand_in.violations(), [""; 0], "these are for TensorRT to refuse");
}

#[test]
fn activation_memory_is_given_used_and_worth_nothing_afterwards() {
    let rig = Rig::new();
    let twice = rig.twice(4);
    let given = twice.another(true);
    ok(given.shape(4));
    ok(given.set("x", given.x));
    ok(given.set("y", given.y));
    ok(rig.fill(given.x, 0, 64));
    assert_eq!(given.activation_bytes(), 256);
    fails(given.enqueue(&rig), code::RUN, "needs 256 bytes of activation memory, has 0");
    let memory = rig.filled(300);
    ok(given.set_memory(memory, 255));
    fails(given.enqueue(&rig), code::RUN, "needs 256 bytes of activation memory, has 255");
    ok(given.set_memory(memory, 300));
    ok(given.enqueue(&rig));
    let mut out = [0u8; 300];
    ok(rig.read(&mut out[256..], memory + 256));
    ok(rig.wait());
    ok(rig.read(&mut out, memory));
    fails(rig.wait(), code::CUDA, "bytes 0..256 of 300");
    assert!(outcome(given.set_memory(memory, 301)).is_some());
    rig.was_violated("activation memory: 301 bytes");
}

#[test]
fn a_tensor_in_the_activation_memory_is_found() {
    let rig = Rig::new();
    let twice = rig.twice(1);
    let given = twice.another(true);
    let memory = rig.filled(512);
    ok(given.set_memory(memory, 512));
    ok(given.shape(1));
    ok(given.set("x", memory));
    ok(given.set("y", given.y));
    ok(given.enqueue(&rig));
    assert!(outcome(rig.wait()).is_some());
    rig.was_violated("`x` lies in the activation memory");
}

#[test]
fn a_cache_is_updated_where_it_lies_and_nowhere_else() {
    for in_place in [true, false] {
        let rig = Rig::new();
        let engine = rig.build(&cache(), &[]);
        let mut loaded = ptr::null_mut();
        ok(rig.load(&engine, &mut loaded));
        // SAFETY: as the header says.
        let (context, alias) = unsafe {
            let context = made(|out| cumo_trt_context_create(loaded, 0, out));
            (context, CStr::from_ptr(cumo_trt_engine_aliased_input(loaded, c"present".as_ptr())))
        };
        assert_eq!(alias, c"past");
        let (past, rows, index) = (rig.buffer(128), rig.buffer(16), rig.buffer(8));
        let present = if in_place { past } else { rig.buffer(128) };
        let run = Twice { engine: loaded, context, x: past, y: present, rows: 0 };
        let places = [("past", past), ("rows", rows), ("index", index), ("present", present)];
        places.into_iter().for_each(|(name, address)| ok(run.set(name, address)));
        let mut out = [0f32; 32];
        ok(rig.fill(past, 0, 128));
        ok(rig.write(rows, &[1f32, 2.0, 3.0, 4.0]));
        ok(rig.write(index, &[5i64]));
        ok(run.enqueue(&rig));
        ok(rig.read(&mut out, present));
        let found = outcome(rig.wait());
        match in_place {
            true => {
                assert_eq!(found, None);
                assert_eq!(out[18..26], [0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 0.0, 0.0]);
            }
            false => rig.was_violated("`present` does not lie where `past` does"),
        }
        assert_eq!(run.rows, 0);
    }
}

#[test]
fn profiles_that_do_not_fit_are_refused() {
    let rig = Rig::new();
    let mut network = ptr::null_mut();
    ok(rig.parse(&twice(), &mut network));
    let build = |ranges: &[(&str, [&[i64]; 3])]| {
        let mut blob = ptr::null_mut();
        // SAFETY: as the header says.
        with_options(ranges, |options| unsafe {
            cumo_trt_network_build(network, options, &mut blob, ptr::null_mut())
        })
    };
    fails(build(&[]), code::PROFILE, "`x`: its shape [-1, 4] is not fixed");
    fails(build(&[("z", [&[1]; 3])]), code::PROFILE, "no input `z`");
    fails(build(&[("x", [&[1, 5]; 3])]), code::PROFILE, "does not fit [-1, 4]");
    fails(build(&[("x", [&[2, 4], &[1, 4], &[3, 4]])]), code::PROFILE, "does not fit [-1, 4]");
    fails(build(&[("x", [&[4]; 3])]), code::PROFILE, "does not fit [-1, 4]");
}

#[test]
fn what_is_no_engine_of_this_version_is_refused() {
    let rig = Rig::new();
    let engine = rig.build(&cache(), &[]);
    let refused = |bytes: &[u8], part: &str| {
        let mut out = ptr::null_mut();
        fails(rig.load(bytes, &mut out), code::WRONG_ENGINE, part);
        assert!(out.is_null());
    };
    refused(b"garbage", "not an engine");
    refused(&engine[..100], "not an engine");
    // Cut within the graph, so that ONNX Runtime refuses it.
    refused(&engine[..engine.len() - 40], "");
    for end in 0..engine.len() - 40 {
        assert!(outcome(rig.load(&engine[..end], &mut ptr::null_mut())).is_some(), "{end}");
    }
    // SAFETY: as the header says.
    ok(unsafe { cumo_trt_engine_check(rig.library, engine.as_ptr().cast(), engine.len()) });

    let other = Rig::with(&Settings { version: "0.0.0.2".to_owned(), ..Settings::default() });
    fails(
        other.load(&engine, &mut ptr::null_mut()),
        code::WRONG_ENGINE,
        "an engine of version 0.0.0.1, not of 0.0.0.2",
    );
}

#[test]
fn garbage_is_no_model() {
    let rig = Rig::new();
    fails(rig.parse(b"\xff\xff", &mut ptr::null_mut()), code::PARSE, "not ONNX");
    fails(rig.parse(b"", &mut ptr::null_mut()), code::PARSE, "no graph");
}
