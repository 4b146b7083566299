//! Kernels that are kept from one process for the next.

use super::*;
use crate::sys::code;

/// The runtime's kernels; none where it has none.
fn kernels(rig: &Rig) -> Option<Vec<u8>> {
    let mut blob = ptr::null_mut();
    // SAFETY: as the header says.
    unsafe {
        ok(cumo_trt_runtime_compiled_kernels(rig.runtime, &mut blob));
        if blob.is_null() {
            return None;
        }
        let (data, bytes) = (cumo_trt_blob_data(blob), cumo_trt_blob_bytes(blob));
        let bytes = slice(data.cast::<u8>(), bytes).unwrap().to_vec();
        cumo_trt_blob_free(blob);
        Some(bytes)
    }
}

/// Gives an engine's runtime kernels.
fn load(engine: *mut sys::Engine, kernels: &[u8]) -> *mut sys::Status {
    // SAFETY: as the header says.
    unsafe { cumo_trt_engine_load_compiled_kernels(engine, kernels.as_ptr().cast(), kernels.len()) }
}

/// Runs an engine with a shape.
fn run(rig: &Rig, twice: &Twice, rows: i64) {
    ok(twice.shape(rows));
    ok(rig.fill(twice.x, 0, rows as u64 * 16));
    ok(twice.enqueue(rig));
    ok(rig.wait());
}

#[test]
fn kernels_are_compiled_for_each_shape_and_given_once_before_the_first_context() {
    let rig = Rig::new();
    let twice = rig.twice(4);
    assert_eq!(kernels(&rig), None);
    run(&rig, &twice, 2);
    let first = kernels(&rig).unwrap();
    run(&rig, &twice, 2);
    assert_eq!(kernels(&rig).unwrap(), first);
    run(&rig, &twice, 3);
    let kept = kernels(&rig).unwrap();
    assert_ne!(kept, first);
    fails(load(twice.engine, &kept), 1, "the runtime has kernels");
    twice.free(&rig);
    assert_eq!(rig.end_of_all(), [""; 0]);

    let rig = Rig::new();
    let twice = rig.twice_after(4, |engine| ok(load(engine, &kept)));
    run(&rig, &twice, 3);
    assert_eq!(kernels(&rig).unwrap(), kept, "nothing had to be compiled");
    run(&rig, &twice, 1);
    assert_ne!(kernels(&rig).unwrap(), kept);
    twice.free(&rig);
    assert_eq!(rig.end_of_all(), [""; 0]);
}

#[test]
fn bytes_that_are_no_kernels_are_refused_and_change_nothing() {
    let rig = Rig::new();
    let twice = rig.twice_after(4, |engine| {
        fails(load(engine, b"no kernels"), code::RUN, "10 bytes are no kernels");
    });
    run(&rig, &twice, 1);
    assert!(kernels(&rig).is_some());
    twice.free(&rig);
    assert_eq!(rig.end_of_all(), [""; 0]);
}
