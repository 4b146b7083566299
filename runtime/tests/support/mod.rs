//! The sample as a bundle, for tests that run the program.
#![allow(dead_code, reason = "no test needs all of it")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cumo_bundle::Target;
use cumo_checkpoint::Sources;
use cumo_export::{FloatType, OnnxOptions, Quiet, RouterOutputs, export_onnx};

/// The sample's folder.
pub(crate) fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/shapes")
}

/// One of the sample's images.
pub(crate) fn image(number: usize) -> String {
    sample().join(format!("images/{number:03}.png")).to_str().unwrap().to_owned()
}

/// The sample, exported into a temporary folder.
pub(crate) struct Bundle {
    folder: tempfile::TempDir,
}

impl Bundle {
    pub(crate) fn new() -> Bundle {
        Bundle::exported(RouterOutputs::default())
    }

    /// The sample, whose graphs do not give routers' choices.
    pub(crate) fn without_choices() -> Bundle {
        Bundle::exported(RouterOutputs::None)
    }

    fn exported(router_outputs: RouterOutputs) -> Bundle {
        if let Err(error) = cumo_runtime::backends::ort::find_library() {
            panic!("{error}");
        }
        let folder = tempfile::tempdir().unwrap();
        let options = OnnxOptions {
            sources: Sources { checkpoint: sample().join("checkpoint"), llm: None, clip: None },
            output: folder.path().join("bundle"),
            target: Target::OrtCpu,
            dtype: FloatType::F32,
            template: None,
            moe: None,
            name: None,
            router_outputs,
            force: false,
        };
        export_onnx(&options, &Quiet).unwrap();
        Bundle { folder }
    }

    /// A file beside the bundle.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file of the bundle.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.beside("bundle").join(name)
    }

    /// The program with the bundle, its streams as pipes.
    pub(crate) fn cumo(&self, command: &str) -> Command {
        let mut cumo = Command::new(env!("CARGO_BIN_EXE_cumo"));
        cumo.arg(command).arg("--model").arg(self.beside("bundle")).stdin(Stdio::piped());
        cumo.stdout(Stdio::piped()).stderr(Stdio::piped()).env("CUMO_CACHE_DIR", "");
        cumo
    }

    /// Changes a file's bytes.
    pub(crate) fn change(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(self.file(name)).unwrap();
        change(&mut bytes);
        fs::write(self.file(name), bytes).unwrap();
    }
}

/// What a stream has as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Sends Ctrl-C's signal.
pub(crate) fn interrupt(process: u32) {
    let kill = Command::new("kill").args(["-s", "INT", &process.to_string()]).status().unwrap();
    assert!(kill.success());
}

/// Says that a test is skipped, past the harness, which keeps what passing tests print.
pub(crate) fn skip(reason: &str) {
    std::io::stderr().write_all(format!("skipped: {reason}\n").as_bytes()).unwrap();
}
