//! Addresses and what is read before it is written.

use super::*;
use crate::sys::code;

#[test]
fn bytes_go_there_and_back() {
    let rig = Rig::new();
    let (a, b) = (rig.buffer(8), rig.buffer(8));
    let mut out = [0u8; 6];
    ok(rig.write(a, &[1u8, 2, 3, 4, 5, 6, 7, 8]));
    ok(rig.copy(b, a, 8));
    ok(rig.fill(b, 9, 2));
    ok(rig.read(&mut out, b));
    ok(rig.wait());
    assert_eq!(out, [9, 9, 3, 4, 5, 6]);
    rig.free(a);
    rig.free(b);
    // SAFETY: as the header says.
    unsafe {
        cumo_trt_stream_free(rig.stream);
        cumo_trt_runtime_free(rig.runtime);
    }
    let summary = rig.stand_in.summary().unwrap();
    assert_eq!(
        (summary.bytes_to_device, summary.bytes_on_device, summary.bytes_to_host),
        (8, 8, 6)
    );
    assert_eq!((summary.allocations, summary.peak_bytes, summary.waits), (2, 16, 1));
    assert_eq!(summary.violations, 0);
}

#[test]
fn reading_what_nothing_wrote_is_found() {
    let rig = Rig::new();
    let a = rig.buffer(8);
    ok(rig.fill(a, 0, 5));
    let mut out = [0u8; 6];
    ok(rig.read(&mut out, a));
    fails(rig.wait(), code::CUDA, "bytes 5..6 of 6");
    rig.was_violated("copy to the host: bytes 5..6 of 6");
    fails(rig.wait(), code::CUDA, "bytes 5..6 of 6");
}

#[test]
fn an_address_past_an_allocation_is_found() {
    for (start, bytes) in [(1, 8), (8, 1)] {
        let rig = Rig::new();
        let a = rig.buffer(8);
        ok(rig.fill(a + start, 0, bytes));
        assert!(outcome(rig.wait()).is_some());
        let reason = if start == 1 { "reach past their allocation" } else { "is in no allocation" };
        rig.was_violated(reason);
    }
}

#[test]
fn an_address_that_was_freed_is_found() {
    let rig = Rig::new();
    let (a, b) = (rig.filled(8), rig.buffer(8));
    rig.free(a);
    ok(rig.copy(b, a, 8));
    fails(rig.wait(), code::CUDA, "an allocation of 8 bytes that was freed");
    rig.was_violated("an allocation of 8 bytes that was freed");
}

#[test]
fn freeing_waits_for_what_uses_the_memory() {
    let rig = Rig::new();
    let (a, b) = (rig.filled(8), rig.buffer(8));
    ok(rig.copy(b, a, 8));
    rig.free(a);
    ok(rig.wait());
    rig.free(b);
    assert_eq!(rig.end_of_all(), [""; 0]);
}

#[test]
fn freeing_twice_and_memory_that_is_left_are_found() {
    let rig = Rig::new();
    let a = rig.buffer(8);
    rig.free(a);
    rig.free(a);
    rig.was_violated("memory was freed that is not allocated");
    rig.buffer(24);
    rig.pin(12);
    let found = rig.end_of_all();
    let left = |bytes: u64| format!("a runtime was freed before {bytes} bytes of its memory");
    assert_eq!(found[1..], [left(24), left(12)]);
}

#[test]
fn copies_that_overlap_are_found() {
    let rig = Rig::new();
    let a = rig.filled(8);
    ok(rig.copy(a + 2, a, 4));
    assert!(outcome(rig.wait()).is_some());
    rig.was_violated("overlap");
}

#[test]
fn rows_are_copied_each_within_its_allocation() {
    let rig = Rig::new();
    let (a, b) = (rig.buffer(8), rig.buffer(6));
    ok(rig.write(a, &[0u8, 1, 2, 3, 4, 5, 6, 7]));
    let rows = |to_pitch, from_pitch, rows| {
        // SAFETY: as the header says.
        unsafe { cumo_trt_copy_rows_on_device(rig.stream, b, to_pitch, a, from_pitch, 2, rows) }
    };
    ok(rows(3, 4, 2));
    let mut out = [0u8; 2];
    ok(rig.read(&mut out, b + 3));
    ok(rig.wait());
    assert_eq!(out, [4, 5]);
    fails(rows(1, 4, 2), crate::fault::INVALID_ARGUMENT, "closer than they are long");
    let mut between = [0u8; 1];
    ok(rig.read(&mut between, b + 2));
    assert!(outcome(rig.wait()).is_some(), "nothing wrote between the rows");

    let rig = Rig::new();
    let (a, b) = (rig.filled(8), rig.buffer(8));
    // SAFETY: as the header says.
    ok(unsafe { cumo_trt_copy_rows_on_device(rig.stream, b, 4, a, 4, 2, 3) });
    assert!(outcome(rig.wait()).is_some());
    rig.was_violated("copy of rows: row 2: ");
}

#[test]
fn memory_of_the_host_is_read_where_it_lies_and_not_written() {
    let mut settings = Settings::default();
    let page = |rig: &Rig, page: &Page| {
        let mut address = 0;
        // SAFETY: the page outlives the rig.
        let status = unsafe {
            cumo_trt_host_register(rig.runtime, (&raw const *page).cast(), 4096, &mut address)
        };
        (status, address)
    };
    let bytes = Page([7; 4096]);
    let rig = Rig::with(&settings);
    fails(page(&rig, &bytes).0, code::UNSUPPORTED, "where it lies");

    settings.device.as_mut().unwrap().is_integrated = true;
    let rig = Rig::with(&settings);
    let (status, address) = page(&rig, &bytes);
    ok(status);
    let mut out = [0u8; 2];
    ok(rig.read(&mut out, address + 4094));
    ok(rig.wait());
    assert_eq!(out, [7, 7]);
    // SAFETY: as the header says, but for the copy that is left.
    let unregister = || unsafe { cumo_trt_host_unregister(rig.runtime, (&raw const bytes).cast()) };
    ok(rig.read(&mut out, address));
    unregister();
    rig.was_violated("while work that uses it was not done");
    unregister();
    rig.was_violated("that is not registered");
    assert!(outcome(rig.wait()).is_some());
    rig.was_violated("4096 bytes that was freed");

    let rig = Rig::with(&settings);
    let (status, address) = page(&rig, &bytes);
    ok(status);
    ok(rig.fill(address, 0, 1));
    assert!(outcome(rig.wait()).is_some());
    rig.was_violated("memory that is only read");
}

/// Memory that begins a page.
#[repr(align(4096))]
struct Page(#[allow(dead_code, reason = "the device reads it")] [u8; 4096]);

#[test]
fn pinned_memory_that_is_freed_under_a_copy_is_found() {
    let rig = Rig::new();
    let a = rig.buffer(8);
    let pinned = rig.pin(8);
    // SAFETY: as the header says, but that the memory is freed before the copy was waited for.
    unsafe {
        ok(cumo_trt_copy_to_device(rig.stream, a, pinned, 8));
        cumo_trt_host_free(rig.runtime, pinned);
    }
    rig.was_violated("pinned memory was freed while a copy that uses it was not done");
    // SAFETY: it is looked up only.
    unsafe { cumo_trt_host_free(rig.runtime, pinned) };
    rig.was_violated("pinned memory was freed that is none");
}
