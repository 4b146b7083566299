//! Libraries that are missing, or others than asked for.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use cumo_tensorrt::{Builder, Error, Flavour, Library, LibraryPlaces};

use crate::{fetched, models, rtx, tensorrt};

/// The message of opening TensorRT-RTX with libraries in a folder; `None` where there is no shim.
fn refusal(tensorrt: PathBuf) -> Option<Error> {
    rtx()?;
    let places = LibraryPlaces { tensorrt: Some(tensorrt), ..Default::default() };
    Some(Library::open_at(Flavour::Rtx, &places).err().unwrap())
}

#[test]
fn a_missing_shim_is_named_with_the_places() {
    let places = LibraryPlaces { shim: Some("/nonexistent".into()), ..Default::default() };
    let error = Library::open_at(Flavour::V11, &places).err().unwrap();
    assert!(matches!(error, Error::MissingShim { flavour: Flavour::V11, .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        "libcumo_trt_11.so was not found\n\
         build the shim with `cargo xtask native`, or where cumo is installed with `sudo sh \
         /usr/share/cumo-edge/native/build.sh`, or name its folder in CUMO_TRT_SHIM\n\
         looked in: /nonexistent"
    );
}

#[test]
fn a_file_that_is_no_shim_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let places = LibraryPlaces { shim: Some(folder.path().into()), ..Default::default() };
        Library::open_at(Flavour::Rtx, &places).err().unwrap()
    };
    let file = folder.path().join("libcumo_trt_rtx.so");
    std::fs::write(&file, "no library").unwrap();
    let error = open();
    assert!(matches!(error, Error::MissingShim { .. }), "{error:?}");
    let message = error.to_string();
    let start = format!("{} is no shared object: ", file.display());
    assert!(message.starts_with(&start) && !message.contains("looked in"), "{message}");

    std::fs::remove_file(&file).unwrap();
    symlink("/proc/self/exe", &file).unwrap();
    assert!(matches!(open(), Error::MissingShim { .. } | Error::WrongShim { .. }));
}

#[test]
fn a_shim_of_another_abi_says_which_side_is_older() {
    let folder = tempfile::tempdir().unwrap();
    let refusal = |abi: u32| {
        let source = folder.path().join("shim.c");
        std::fs::write(&source, format!("unsigned cumo_trt_abi_version(void) {{ return {abi}; }}"))
            .unwrap();
        let file = folder.path().join("libcumo_trt_rtx.so");
        let linker = ["-shared", "-fPIC", "-o"];
        let made = Command::new("cc").args(linker).arg(&file).arg(&source).status().unwrap();
        assert!(made.success());
        let places = LibraryPlaces { shim: Some(folder.path().into()), ..Default::default() };
        let error = Library::open_at(Flavour::Rtx, &places).err().unwrap();
        assert!(matches!(error, Error::WrongShim { .. }), "{error:?}");
        std::fs::remove_file(&file).unwrap();
        error.to_string()
    };
    let old = refusal(1);
    let says = "is a shim of ABI 1, older than this program, which needs 2; build it anew";
    assert!(old.contains(says), "{old}");
    let new = refusal(99);
    assert!(new.contains("is a shim of ABI 99, newer than this program"), "{new}");
    assert!(refusal(2).ends_with("functions are missing"));
}

#[test]
fn missing_libraries_are_named_with_what_to_do() {
    let Some(error) = refusal("/nonexistent".into()) else { return };
    assert!(matches!(error, Error::MissingLibrary { .. }), "{error:?}");
    let message = error.to_string();
    for part in ["/nonexistent/libtensorrt_rtx.so.1", "cargo xtask setup --tensorrt"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_library_of_another_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let lean = fetched("tensorrt-lean-11").join("libnvinfer_lean.so.11");
    symlink(lean, folder.path().join("libtensorrt_rtx.so.1")).unwrap();
    let Some(error) = refusal(folder.path().into()) else { return };
    assert!(matches!(error, Error::WrongLibrary { .. }), "{error:?}");
    let message = error.to_string();
    for part in ["is version 11.4.0.106", "compiled for 1.7 and later"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_library_that_is_not_tensorrt_is_refused() {
    let Some(library) = rtx() else { return };
    let folder = tempfile::tempdir().unwrap();
    let parser = library.path().with_file_name("libtensorrt_onnxparser_rtx.so.1");
    symlink(parser, folder.path().join("libtensorrt_rtx.so.1")).unwrap();
    let error = refusal(folder.path().into()).unwrap();
    assert!(matches!(error, Error::WrongLibrary { .. }), "{error:?}");
    assert!(error.to_string().contains("is not TensorRT: functions are missing"), "{error}");
}

#[test]
fn the_lean_runtime_says_that_it_cannot_build() {
    let folder = Some(fetched("tensorrt-lean-11"));
    let places = LibraryPlaces { tensorrt: folder, ..Default::default() };
    let Some(library) = tensorrt(Flavour::V11, &places) else { return };
    assert_eq!((library.can_build(), library.version().as_str()), (false, "11.4.0.106"));
    let error = Builder::new(&library).parse(&models::mlp(), None).err().unwrap();
    let is_expected = matches!(error, Error::MissingLibrary { .. } | Error::MissingDriver { .. });
    assert!(is_expected, "{error:?}");
}

#[test]
fn plugins_that_cannot_be_loaded_are_refused() {
    let Some(library) = rtx() else { return };
    let refusal = |path: &std::path::Path| {
        let error = library.load_plugins(path).unwrap_err();
        assert!(matches!(error, Error::Plugin { .. }), "{error:?}");
        error.to_string()
    };
    let missing = refusal("/nonexistent/libcumo_plugin.so".as_ref());
    assert!(missing.contains("/nonexistent/libcumo_plugin.so"), "{missing}");
    let other = refusal(&library.path());
    assert!(other.contains("holds no TensorRT plugins: it has no setLoggerFinder"), "{other}");
}

/// The first tenth of a file, of the same name in a folder: what is behind it is not all debugging
/// information, which the loader does not need.
fn cut_off(file: &std::path::Path, folder: &std::path::Path) {
    let bytes = std::fs::read(file).unwrap();
    let cut = folder.join(file.file_name().unwrap());
    std::fs::write(cut, &bytes[..bytes.len() / 10]).unwrap();
}

#[test]
fn files_that_are_cut_off_are_refused_and_do_not_end_the_process() {
    let Some(library) = rtx() else { return };
    let folder = tempfile::tempdir().unwrap();
    let standin =
        cumo_standin::StandIn::create(folder.path(), &cumo_standin::Settings::default()).unwrap();
    let cut = tempfile::tempdir().unwrap();
    cut_off(&folder.path().join("libcumo_trt_rtx.so"), cut.path());
    let places = LibraryPlaces { shim: Some(cut.path().into()), ..Default::default() };
    let error = Library::open_at(Flavour::Rtx, &places).err().unwrap();
    assert!(matches!(error, Error::MissingShim { .. }), "{error:?}");
    assert!(error.to_string().contains("libcumo_trt_rtx.so is cut off: it has "), "{error}");

    for name in ["libtensorrt_onnxparser_rtx.so.1", "libtensorrt_rtx.so.1"] {
        cut_off(&library.path().with_file_name(name), cut.path());
        let error = refusal(cut.path().into()).unwrap();
        assert!(matches!(error, Error::MissingLibrary { .. }), "{error:?}");
        assert!(error.to_string().contains(&format!("{name} is cut off: it has ")), "{error}");
    }

    cut_off(&standin.plugin(), cut.path());
    let plugin = cut.path().join(standin.plugin().file_name().unwrap());
    let loaded = [
        library.load_plugins(&plugin),
        library.load_own_plugins(Some(&plugin)).map(drop),
        library.plugin_layout(&plugin).map(drop),
    ];
    for error in loaded.map(Result::unwrap_err) {
        assert!(matches!(error, Error::Plugin { .. }), "{error:?}");
        assert!(error.to_string().contains(" is cut off: it has "), "{error}");
    }
}
