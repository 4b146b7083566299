//! Work is done when it is waited for, in order, and not before.

use super::*;

#[test]
fn a_wait_that_was_forgotten_shows() {
    let rig = Rig::new();
    let a = rig.filled(4);
    let mut out = [3u8; 4];
    ok(rig.read(&mut out, a));
    assert_eq!(out, [0xFF; 4], "not the bytes of the device, and not the old ones");
    ok(rig.wait());
    assert_eq!(out, [1; 4]);
}

#[test]
fn bytes_are_taken_from_the_host_as_late_as_may_be() {
    for (is_eager, expected) in [(false, 2), (true, 1)] {
        let rig = Rig::with(&Settings { is_eager, ..Settings::default() });
        let a = rig.buffer(1);
        let pinned = rig.pin(1).cast::<u8>();
        let mut out = [0u8];
        // SAFETY: as the header says, but for the change before the copy was waited for.
        unsafe {
            pinned.write(1);
            ok(cumo_trt_copy_to_device(rig.stream, a, pinned.cast(), 1));
            pinned.write(2);
        }
        ok(rig.wait());
        ok(rig.read(&mut out, a));
        ok(rig.wait());
        assert_eq!(out, [expected]);
    }
}

#[test]
fn another_stream_waits_only_where_it_is_told_to() {
    for waits in [false, true] {
        let rig = Rig::new();
        let a = rig.buffer(4);
        ok(rig.fill(a, 5, 4));
        // SAFETY: as the header says.
        let other = unsafe {
            let event = made(|out| cumo_trt_event_create(rig.runtime, out));
            ok(cumo_trt_event_record(event, rig.stream));
            let other = made(|out| cumo_trt_stream_create(rig.runtime, out));
            if waits {
                ok(cumo_trt_stream_wait(other, event));
            }
            other
        };
        let mut out = [0u8; 4];
        // SAFETY: as the header says.
        unsafe { ok(cumo_trt_copy_to_host(other, out.as_mut_ptr().cast(), a, 4)) };
        // SAFETY: as the header says.
        let waited = outcome(unsafe { cumo_trt_stream_synchronize(other) });
        assert_eq!(waited.is_none(), waits, "{waited:?}");
        assert_eq!(out == [5; 4], waits);
    }
}

#[test]
fn an_event_stands_for_what_was_put_before_it() {
    let rig = Rig::new();
    let a = rig.buffer(4);
    let (mut first, mut second) = ([0u8; 4], [0u8; 4]);
    // SAFETY: as the header says.
    unsafe {
        let (start, end) = (
            made(|out| cumo_trt_event_create(rig.runtime, out)),
            made(|out| cumo_trt_event_create(rig.runtime, out)),
        );
        ok(cumo_trt_event_record(start, rig.stream));
        ok(rig.fill(a, 5, 4));
        ok(rig.read(&mut first, a));
        ok(cumo_trt_event_record(end, rig.stream));
        ok(rig.read(&mut second, a));
        ok(cumo_trt_event_synchronize(end));
        assert_eq!((first, second), ([5; 4], [0xFF; 4]));
        let mut milliseconds = -1.0;
        ok(cumo_trt_event_elapsed(start, end, &mut milliseconds));
        assert!((0.0..1e3).contains(&milliseconds), "{milliseconds}");
        ok(rig.wait());

        ok(cumo_trt_event_record(end, rig.stream));
        assert!(outcome(cumo_trt_event_elapsed(start, end, &mut milliseconds)).is_some());
        rig.was_violated("the time of an event was asked for before it");
        let never = made(|out| cumo_trt_event_create(rig.runtime, out));
        assert!(outcome(cumo_trt_event_synchronize(never)).is_some());
        rig.was_violated("an event was used that was never recorded");
    }
}

#[test]
fn a_stream_that_is_freed_does_what_is_left() {
    let rig = Rig::new();
    let a = rig.buffer(4);
    let mut out = [0u8; 4];
    ok(rig.fill(a, 5, 4));
    ok(rig.read(&mut out, a));
    // SAFETY: as the header says.
    unsafe { cumo_trt_stream_free(rig.stream) };
    assert_eq!(out, [5; 4]);
}
