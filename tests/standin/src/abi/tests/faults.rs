//! Faults that the settings ask for.

use super::*;
use crate::sys::code;

#[test]
fn the_allocation_that_is_to_fail_fails_and_no_other() {
    let rig = Rig::with(&Settings { fail_allocation: Some(2), ..Settings::default() });
    rig.buffer(8);
    let mut address = 1;
    let part = "8 bytes of device memory for a buffer";
    fails(rig.alloc(8, &mut address), code::OUT_OF_MEMORY, part);
    assert_eq!(address, 0);
    rig.buffer(8);
}

#[test]
fn more_than_the_device_has_is_not_to_be_had() {
    let mut settings = Settings::default();
    settings.device.as_mut().unwrap().total_bytes = 1000;
    let rig = Rig::with(&settings);
    let a = rig.buffer(600);
    fails(rig.alloc(401, &mut 0), code::OUT_OF_MEMORY, "400 bytes are free");
    assert_eq!(rig.memory(), (400, 1000));
    rig.free(a);
    rig.buffer(1000);
}

#[test]
fn a_lost_device_does_nothing_more() {
    let rig = Rig::with(&Settings { lose_device_at_call: Some(4), ..Settings::default() });
    // The stream was the first call.
    let a = rig.filled(8);
    let mut out = [0u8; 8];
    fails(rig.read(&mut out, a), code::CUDA, "the device was lost at call 4");
    fails(rig.wait(), code::CUDA, "the device was lost at call 4");
    assert_eq!(out, [0; 8]);
    rig.free(a);
    assert_eq!(rig.end_of_all(), [""; 0], "a lost device is no violation");
}

#[test]
fn a_device_is_lost_at_an_execution() {
    let settings = Settings { lose_device_at_execution: Some(2), ..Settings::default() };
    let rig = Rig::with(&settings);
    let twice = rig.twice(1);
    ok(rig.fill(twice.x, 0, 16));
    ok(twice.enqueue(&rig));
    ok(rig.wait());
    ok(twice.enqueue(&rig));
    fails(rig.wait(), code::CUDA, "the device was lost at execution 2");
    fails(twice.enqueue(&rig), code::CUDA, "the device was lost at execution 2");
}

#[test]
fn an_execution_takes_its_time() {
    let rig = Rig::with(&Settings { execution_milliseconds: 30.0, ..Settings::default() });
    let twice = rig.twice(1);
    ok(rig.fill(twice.x, 0, 16));
    ok(twice.enqueue(&rig));
    let start = std::time::Instant::now();
    ok(rig.wait());
    assert!(start.elapsed().as_secs_f64() >= 0.03);
}

#[test]
fn without_a_device_there_is_no_driver_and_a_lean_runtime_does_not_build() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { device: None, can_build: false, ..Settings::default() };
    StandIn::without_library(folder.path(), &settings).unwrap();
    let place = CString::new(folder.path().to_str().unwrap()).unwrap();
    // SAFETY: as the header says.
    unsafe {
        let library = made(|out| cumo_trt_library_open(place.as_ptr(), out));
        let status = cumo_trt_runtime_create(library, 0, ptr::null(), &mut ptr::null_mut());
        fails(status, code::MISSING_DRIVER, "no NVIDIA driver");
        fails(cumo_trt_num_devices(&mut 0), code::MISSING_DRIVER, "no NVIDIA driver");
        assert_eq!(cumo_trt_library_can_build(library), 0);
        let status = cumo_trt_builder_create(library, ptr::null(), &mut ptr::null_mut());
        fails(status, code::MISSING_LIBRARY, "lean runtime");
    }
}

#[test]
fn settings_that_are_none_are_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("stand-in.json"), "{\"colour\": 1}").unwrap();
    let place = CString::new(folder.path().to_str().unwrap()).unwrap();
    // SAFETY: as the header says.
    let status = unsafe { cumo_trt_library_open(place.as_ptr(), &mut ptr::null_mut()) };
    fails(status, code::MISSING_LIBRARY, "unknown field `colour`");
}
