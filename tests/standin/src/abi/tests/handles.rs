//! Handles that are used or freed when they should not be.

use super::*;
use crate::fault::INVALID_ARGUMENT;
use crate::sys::code;

#[test]
fn a_handle_that_was_freed_is_known() {
    let rig = Rig::new();
    // SAFETY: the stream is used after it was freed, which is found by its number.
    unsafe { cumo_trt_stream_free(rig.stream) };
    fails(rig.wait(), code::CUDA, "a stream was used after it was freed");
    // SAFETY: the same.
    unsafe { cumo_trt_stream_free(rig.stream) };
    assert_eq!(rig.stand_in.violations().len(), 2);
}

#[test]
fn what_a_handle_was_made_from_is_freed_after_it() {
    let rig = Rig::new();
    // SAFETY: freed in the wrong order, which is found by the numbers.
    unsafe { cumo_trt_runtime_free(rig.runtime) };
    rig.was_violated("a runtime was freed before what was made from it: stream");
}

#[test]
fn null_and_other_pointers_are_refused() {
    let rig = Rig::new();
    // SAFETY: none of these is looked behind.
    unsafe {
        fails(cumo_trt_stream_synchronize(ptr::null_mut()), INVALID_ARGUMENT, "not null");
        let other = rig.runtime.cast();
        fails(
            cumo_trt_stream_synchronize(other),
            code::CUDA,
            "a stream was expected, not a runtime",
        );
        let none = ptr::without_provenance_mut(7);
        fails(cumo_trt_stream_synchronize(none), INVALID_ARGUMENT, "none of this library's");
        cumo_trt_stream_free(ptr::null_mut());
    }
}
