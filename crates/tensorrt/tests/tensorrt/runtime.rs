//! Running engines, on machines that can and on those that cannot.

use cumo_tensorrt::{Error, Flavour, LibraryPlaces, Runtime};

use crate::{fetched, rtx, tensorrt};

/// What every flavour says on a machine without a device: a sentence, and no crash.
fn check(library: &cumo_tensorrt::Library) {
    match library.devices() {
        Ok(devices) => {
            assert!(!devices.is_empty());
            Runtime::new(library, devices.len()).err().expect("no such device");
            Runtime::new(library, 0).unwrap().memory().unwrap();
        }
        Err(error) => {
            assert!(matches!(error, Error::MissingDriver { .. }), "{error:?}");
            let message = error.to_string();
            assert!(message.ends_with("an NVIDIA GPU and its driver"), "{message}");
            for device in [0, 1, usize::MAX] {
                let error = Runtime::new(library, device).err().unwrap();
                assert_eq!(error.to_string(), message);
            }
        }
    }
}

#[test]
fn a_machine_without_a_device_is_told_so_by_rtx() {
    let Some(library) = rtx() else { return };
    check(&library);
}

#[test]
fn a_machine_without_a_device_is_told_so_by_tensorrt_11() {
    let folder = Some(fetched("tensorrt-lean-11"));
    let places = LibraryPlaces { tensorrt: folder, ..Default::default() };
    let Some(library) = tensorrt(Flavour::V11, &places) else { return };
    check(&library);
}
