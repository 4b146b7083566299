use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use std::ffi::c_ulonglong;

use super::*;

/// Initialisations that were not taken back.
static INITIALISED: AtomicI64 = AtomicI64::new(0);

/// The functions of a test have no state of their own: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

const NOT_SUPPORTED: c_int = 3;
const NOT_FOUND: c_int = 6;

extern "C" fn init() -> c_int {
    INITIALISED.fetch_add(1, Ordering::SeqCst);
    0
}

extern "C" fn shutdown() -> c_int {
    INITIALISED.fetch_sub(1, Ordering::SeqCst);
    0
}

extern "C" fn error_string(code: c_int) -> *const c_char {
    if code == NOT_SUPPORTED { c"Not Supported".as_ptr() } else { ptr::null() }
}

/// Three cards: two of one name.
unsafe extern "C" fn count(count: *mut c_uint) -> c_int {
    // SAFETY: the caller gives a pointer to a number.
    unsafe { *count = 3 };
    0
}

unsafe extern "C" fn handle_by_index(index: c_uint, device: *mut Device) -> c_int {
    // SAFETY: the caller gives a pointer to a handle.
    unsafe { *device = ptr::without_provenance_mut(index as usize + 1) };
    0
}

/// The places of the first two cards: the third tells none.
unsafe extern "C" fn handle_by_bus(id: *const c_char, device: *mut Device) -> c_int {
    // SAFETY: the caller gives a text.
    let index = match unsafe { CStr::from_ptr(id) }.to_str().unwrap() {
        "0000:01:00.0" => 0,
        "0000:C1:00.0" => 1,
        _ => return NOT_FOUND,
    };
    // SAFETY: as the caller's.
    unsafe { handle_by_index(index, device) }
}

unsafe extern "C" fn name(device: Device, bytes: *mut c_char, size: c_uint) -> c_int {
    let name = if device.addr() == 1 { c"One card" } else { c"Another card" };
    assert!(name.count_bytes() < size as usize);
    // SAFETY: the caller's bytes are `size`, which is more than the name has with its NUL.
    unsafe { ptr::copy_nonoverlapping(name.as_ptr(), bytes, name.count_bytes() + 1) };
    0
}

unsafe extern "C" fn version(bytes: *mut c_char, _: c_uint) -> c_int {
    // SAFETY: the caller's bytes are more than these.
    unsafe { ptr::copy_nonoverlapping(c"580.65.06".as_ptr(), bytes, 10) };
    0
}

unsafe extern "C" fn cuda_version(version: *mut c_int) -> c_int {
    // SAFETY: the caller gives a pointer to a number.
    unsafe { *version = 13_010 };
    0
}

unsafe extern "C" fn energy(_: Device, millijoules: *mut c_ulonglong) -> c_int {
    // SAFETY: the caller gives a pointer to a number.
    unsafe { *millijoules = 12_500 };
    0
}

unsafe extern "C" fn of_kind(_: Device, kind: c_int, number: *mut c_uint) -> c_int {
    // SAFETY: the caller gives a pointer to a number.
    unsafe { *number = 1_000 + kind as c_uint };
    if kind == 2 { NOT_SUPPORTED } else { 0 }
}

unsafe extern "C" fn reasons(_: Device, reasons: *mut c_ulonglong) -> c_int {
    // SAFETY: the caller gives a pointer to a number.
    unsafe { *reasons = 0x1 | 0x4 | 0x40 };
    0
}

unsafe extern "C" fn limit(_: Device, milliwatts: *mut c_uint) -> c_int {
    // SAFETY: the caller gives a pointer to a number.
    unsafe { *milliwatts = 250_000 };
    0
}

unsafe extern "C" fn processes(_: Device, count: *mut c_uint, infos: *mut ProcessInfo) -> c_int {
    let all = [(7, 1_000), (8, 20), (9, u64::MAX), (8, 3)];
    // SAFETY: the caller gives a pointer to a number, and has room for as many processes.
    unsafe {
        assert!(*count as usize >= all.len());
        *count = all.len() as c_uint;
        for (index, (pid, used_bytes)) in all.into_iter().enumerate() {
            *infos.add(index) = ProcessInfo { pid, used_bytes, ..ProcessInfo::default() };
        }
    }
    0
}

fn api() -> Api {
    Api {
        init,
        shutdown,
        error_string,
        count,
        handle_by_index,
        handle_by_bus,
        name,
        driver_version: version,
        cuda_version,
        total_energy: energy,
        temperature: of_kind,
        clock: of_kind,
        max_clock: of_kind,
        throttle_reasons: reasons,
        power_limit: limit,
        processes: Some(processes),
        _library: None,
    }
}

#[test]
fn a_card_is_found_by_its_name_and_tells_what_it_knows() {
    let _alone = ALONE.lock().unwrap();
    let card = Card::of(api(), "One card", None).unwrap();
    assert_eq!(card.energy(), Ok(12.5));
    assert_eq!(card.celsius(), Some(1_000.0));
    let gpu = CardClock { name: "gpu", hz: 1_001_000_000, max_hz: Some(1_001_000_000) };
    assert_eq!(card.clocks(), [gpu]);
    let reasons = card.throttling().unwrap();
    assert_eq!(reasons, ["power cap", "hardware thermal slowdown"]);
    assert_eq!(card.power_limit(), Some(250.0));
    let of_processes = [7, 8, 9, 10].map(|process| card.process_bytes(process));
    assert_eq!(of_processes, [Some(1_000), Some(23), None, None]);
    assert_eq!((card.driver(), card.cuda()), (Some("580.65.06".into()), Some("13.1".into())));
    drop(card);
    assert_eq!(INITIALISED.load(Ordering::SeqCst), 0);
}

#[test]
fn a_name_that_no_card_or_several_have_is_told() {
    let _alone = ALONE.lock().unwrap();
    let error = Card::of(api(), "A third", None).err().unwrap();
    assert_eq!(error, "none of the 3 cards that NVML lists is called A third");
    let error = Card::of(api(), "Another card", None).err().unwrap();
    assert!(error.contains("several cards called Another card"), "{error}");
    assert_eq!(INITIALISED.load(Ordering::SeqCst), 0);
}

#[test]
fn one_of_two_equal_cards_is_found_by_its_place_on_the_bus() {
    let _alone = ALONE.lock().unwrap();
    let card = Card::of(api(), "Another card", Some("0000:C1:00.0")).unwrap();
    assert_eq!(card.device.0.addr(), 2);
    drop(card);
    // CUDA may call a card otherwise than NVML does.
    let card = Card::of(api(), "The first", Some("0000:01:00.0")).unwrap();
    assert_eq!((card.device.0.addr(), card.energy()), (1, Ok(12.5)));
    drop(card);
    assert_eq!(INITIALISED.load(Ordering::SeqCst), 0);
}

#[test]
fn a_place_that_nvml_does_not_know_leaves_the_name() {
    let _alone = ALONE.lock().unwrap();
    for place in ["0000:02:00.0", "", "\0"] {
        let card = Card::of(api(), "One card", Some(place)).unwrap();
        assert_eq!(card.device.0.addr(), 1, "{place:?}");
        let error = Card::of(api(), "Another card", Some(place)).err().unwrap();
        assert!(error.contains("several cards called Another card"), "{error}");
    }
    assert_eq!(INITIALISED.load(Ordering::SeqCst), 0);
}

#[test]
fn what_nvml_calls_an_error_is_told() {
    let _alone = ALONE.lock().unwrap();
    unsafe extern "C" fn unsupported(_: Device, _: *mut c_ulonglong) -> c_int {
        NOT_SUPPORTED
    }
    let card = Card::of(Api { total_energy: unsupported, ..api() }, "One card", None).unwrap();
    assert_eq!(card.energy(), Err("Not Supported".to_owned()));
    extern "C" fn fails() -> c_int {
        999
    }
    drop(card);
    let old = Card::of(Api { processes: None, ..api() }, "One card", None).unwrap();
    assert_eq!(old.process_bytes(7), None);
    drop(old);
    let failing = Api { init: fails, ..api() };
    assert_eq!(Card::of(failing, "One card", None).err().unwrap(), "NVML: NVML's error 999");
    assert_eq!(INITIALISED.load(Ordering::SeqCst), 0);
}
