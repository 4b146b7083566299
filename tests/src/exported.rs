//! Goldens exported into temporary folders, and opened.

use std::fs;
use std::path::PathBuf;

use cumo_bundle::{Bundle, Target, names};
use cumo_checkpoint::Sources;
use cumo_export::{FloatType, MoeKind, OnnxOptions, Quiet, RouterOutputs, export_onnx};
use cumo_runtime::{Model, ModelOptions};

use crate::golden::Golden;

/// A golden as a bundle.
pub struct Exported {
    folder: tempfile::TempDir,
}

impl Exported {
    /// Exports a golden, with its routers as outputs; `moe` as TensorRT's targets are asked for it.
    pub fn new(
        golden: &Golden,
        target: Target,
        dtype: FloatType,
        moe: Option<MoeKind>,
    ) -> Exported {
        let folder = tempfile::tempdir().unwrap();
        let options = OnnxOptions {
            sources: Sources { checkpoint: golden.checkpoint(), llm: None, clip: None },
            output: folder.path().join("bundle"),
            target,
            dtype,
            template: None,
            moe,
            name: None,
            router_outputs: RouterOutputs::All,
            force: false,
        };
        let summary = export_onnx(&options, &Quiet).unwrap();
        assert!(summary.odd_weights.is_empty(), "{:?}", summary.odd_weights);
        Exported { folder }
    }

    /// Gives the cache a rung every so many positions, and one for the whole context.
    pub fn with_rungs_every(self, positions: usize) -> Exported {
        let path = self.path().join(names::MANIFEST_FILE);
        let mut manifest = Bundle::read_manifest(&self.path()).unwrap();
        let context = manifest.model.llm.context_length;
        manifest.plan.attended = (positions..context).step_by(positions).chain([context]).collect();
        fs::write(path, serde_json::to_vec(&manifest).unwrap()).unwrap();
        self
    }

    /// The bundle's folder.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("bundle")
    }

    /// Opens the bundle.
    pub fn open(&self) -> Model {
        Model::open(&self.path(), &ModelOptions::default()).unwrap()
    }
}

/// Fails with a sentence where ONNX Runtime is not there: these tests prove nothing without it.
pub fn onnxruntime_is_there() {
    if let Err(error) = cumo_runtime::backends::ort::find_library() {
        panic!("{error}");
    }
}
