//! The stand-in for the shim (`tests/standin`) is loaded by tests and by nothing else.
//!
//! The feature is off where this crate is tested alone and on where the workspace is, so that two
//! runs see both sides.

use cumo_standin::{Settings, StandIn};
use cumo_tensorrt::{Error, Flavour, Library, LibraryPlaces};

#[test]
fn the_stand_in_is_refused_but_where_tests_ask_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let stand_in = StandIn::create(folder.path(), &Settings::default()).unwrap();
    let place = Some(stand_in.folder().to_owned());
    let places = LibraryPlaces { shim: place.clone(), tensorrt: place };
    let opened = Library::open_at(Flavour::Rtx, &places);
    if cfg!(all(feature = "stand-in", debug_assertions)) {
        let library = opened.unwrap();
        assert_eq!(library.version(), "0.0.0.1");
        return;
    }
    let error = opened.err().expect("a program without the feature does not load it");
    assert!(matches!(error, Error::WrongShim { .. }), "{error:?}");
    let message = error.to_string();
    let reason = "libcumo_trt_rtx.so: is a stand-in for tests, which this program does not load";
    assert!(message.ends_with(reason), "{message}");
}
