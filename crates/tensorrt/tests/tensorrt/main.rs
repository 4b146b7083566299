//! The builder on real TensorRT, and what it says where something is missing or wrong.
//!
//! The tests need the shim (`cargo xtask native`) and TensorRT-RTX (`cargo xtask setup --tensorrt`);
//! where these are absent each says that it was skipped, unless CUMO_REQUIRE_TENSORRT is set.

mod build;
mod engines;
mod header;
mod libraries;
mod models;
mod parse;
mod plugin;
mod profiles;
mod progress;
mod runtime;
mod stand_in;

use std::path::PathBuf;

use cumo_tensorrt::{Error, Flavour, Library, LibraryPlaces};

/// TensorRT of a flavour, or `None` after saying that the test is skipped.
fn tensorrt(flavour: Flavour, places: &LibraryPlaces) -> Option<Library> {
    match Library::open_at(flavour, places) {
        Ok(library) => Some(library),
        Err(error @ (Error::MissingShim { .. } | Error::MissingLibrary { .. })) => {
            skip(&error.to_string());
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// TensorRT-RTX, or `None` after saying that the test is skipped.
fn rtx() -> Option<Library> {
    tensorrt(Flavour::Rtx, &LibraryPlaces::default())
}

/// Says that a test is skipped; fails it where all are to run.
#[allow(clippy::explicit_write, reason = "the harness keeps what passing tests print")]
fn skip(reason: &str) {
    let message = "skipped: run `cargo xtask setup --tensorrt` and `cargo xtask native`";
    assert!(std::env::var_os("CUMO_REQUIRE_TENSORRT").is_none(), "{message}: {reason}");
    use std::io::Write;
    writeln!(std::io::stderr(), "{message}: {reason}").unwrap();
}

/// A folder below `target/native`, as tests in `target/debug/deps` find it.
fn fetched(name: &str) -> PathBuf {
    let program = std::env::current_exe().unwrap();
    program.ancestors().nth(3).unwrap().join("native").join(name)
}
