//! Bytes that are no engine, or not this TensorRT's.

use cumo_tensorrt::{BuildOptions, Builder, Error, Flavour, LibraryPlaces, Profile};

use crate::{fetched, models, rtx, tensorrt};

fn engine(library: &cumo_tensorrt::Library) -> Vec<u8> {
    let mut network = Builder::new(library).parse(&models::mlp(), None).unwrap();
    let options = BuildOptions::new().profile(Profile::new().fixed("x", &[8, 64]));
    network.build(&options).unwrap().engine.as_slice().to_vec()
}

#[test]
fn a_truncated_or_extended_engine_is_refused() {
    let Some(library) = rtx() else { return };
    let whole = engine(&library);
    library.check_engine(&whole).unwrap();
    let longer = [&whole[..], &[0]].concat();
    for bytes in [&longer[..], &whole[..whole.len() - 1], &whole[..100], &whole[..20], &[]] {
        let error = library.check_engine(bytes).unwrap_err();
        assert!(matches!(error, Error::WrongEngine { .. }), "{error:?}");
    }
    let error = library.check_engine(&whole[..100]).unwrap_err().to_string();
    let expected =
        format!("the engine is damaged: it has 100 bytes, and its header says {}", whole.len());
    assert_eq!(error, expected);
    let error = library.check_engine(&[]).unwrap_err().to_string();
    assert_eq!(error, "not an engine: 0 bytes, less than the header's 64");
}

#[test]
fn what_is_no_engine_is_refused() {
    let Some(library) = rtx() else { return };
    for bytes in [models::mlp(), vec![0; 4096], vec![0xff; 4096]] {
        let error = library.check_engine(&bytes).unwrap_err();
        assert!(matches!(error, Error::WrongEngine { .. }), "{error:?}");
        assert_eq!(error.to_string(), "the engine cannot be used: it is damaged");
    }
}

#[test]
fn an_engine_of_another_version_is_refused() {
    let Some(library) = rtx() else { return };
    let mut bytes = engine(&library);
    // RTX writes its version there; a test without it would pass whatever is checked.
    let version = bytes[24..28].iter().map(u8::to_string).collect::<Vec<_>>().join(".");
    assert_eq!(version, library.version());
    bytes[25] -= 1;
    let error = library.check_engine(&bytes).unwrap_err();
    assert!(matches!(error, Error::WrongEngine { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.starts_with("the engine was built by TensorRT-RTX 1."), "{message}");
    assert!(message.ends_with(&format!("this is {}", library.version())), "{message}");
}

#[test]
fn other_flavours_judge_engines_on_a_device_only() {
    let folder = Some(fetched("tensorrt-lean-11"));
    let places = LibraryPlaces { tensorrt: folder, ..Default::default() };
    let Some(library) = tensorrt(Flavour::V11, &places) else { return };
    let error = library.check_engine(&[0; 100]).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
}
