//! What building a layer engine takes. A program of its own: peak memory is the process's.
#![allow(clippy::print_stdout, clippy::explicit_write, reason = "says figures, and skips aloud")]

#[path = "tensorrt/models.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod models;

use std::time::Instant;

use cumo_tensorrt::{BuildOptions, Builder, Error, Flavour, Library};

/// Sizes of Mistral-7B's decoder layers, with a cache of 2,048.
const MISTRAL: models::Sizes =
    models::Sizes { hidden: 4096, heads: 32, kv_heads: 8, intermediate: 14336, cache: 2048 };

/// The most memory that this process has had, in bytes.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn a_layer_of_mistral_7b_is_built_within_512_mib() {
    let library = match Library::open(Flavour::Rtx) {
        Ok(library) => library,
        Err(error @ (Error::MissingShim { .. } | Error::MissingLibrary { .. })) => {
            let message = "skipped: run `cargo xtask setup --tensorrt` and `cargo xtask native`";
            assert!(std::env::var_os("CUMO_REQUIRE_TENSORRT").is_none(), "{message}: {error}");
            use std::io::Write;
            writeln!(std::io::stderr(), "{message}: {error}").unwrap();
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let start = Instant::now();
    let model = models::decoder_layer(&MISTRAL);
    let mut network = Builder::new(&library).parse(&model, None).unwrap();
    let prefill = models::decoder_profile(&MISTRAL, 1024);
    let decode = models::decoder_profile(&MISTRAL, 1);
    let options = BuildOptions::new().profile(prefill).profile(decode);
    let built = network.build(&options).unwrap();
    let (bytes, peak) = (built.engine.as_slice().len(), peak_bytes());
    println!(
        "decoder layer, weights as inputs: engine of {} kB in {:.2} s, peak {} MiB",
        bytes / 1000,
        start.elapsed().as_secs_f64(),
        peak >> 20
    );
    assert!(peak < 512 << 20, "{} MiB", peak >> 20);
}
