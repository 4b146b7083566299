//! Checkpoints for tests: the goldens, and changed copies of them.
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

/// A golden's checkpoint folder.
pub(crate) fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/goldens").join(name).join("checkpoint")
}

/// The exporter's program.
pub(crate) fn cumo_export() -> Command {
    Command::new(env!("CARGO_BIN_EXE_cumo-export"))
}

/// What `cumo-export onnx CHECKPOINT -o OUTPUT ARGUMENTS` did.
pub(crate) fn export(checkpoint: &Path, output: &Path, arguments: &[&str]) -> Output {
    cumo_export()
        .arg("onnx")
        .arg(checkpoint)
        .arg("-o")
        .arg(output)
        .args(arguments)
        .output()
        .expect("cumo-export starts")
}

/// Everything a program said on standard error.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Names in a folder, hidden ones too.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// A file as `torch.save` makes it, an archive without checksums, of `pickle` and no storages.
pub(crate) fn zip(pickle: &[u8]) -> Vec<u8> {
    let name = b"archive/data.pkl";
    let size = (pickle.len() as u32).to_le_bytes();
    // Version, flags, method, time, date, checksum; sizes; lengths of name and extra field.
    let common = [&[0; 14], size.as_slice(), &size, &[name.len() as u8, 0, 0, 0]].concat();
    let local = [b"PK\x03\x04", common.as_slice(), name, pickle].concat();
    // Length of comment, disk, attributes, place.
    let central = [b"PK\x01\x02\0\0", common.as_slice(), &[0; 14], name].concat();
    let (length, place) = (central.len() as u32, local.len() as u32);
    let end = [b"PK\x05\x06\0\0\0\0\x01\0\x01\0", length.to_le_bytes().as_slice()].concat();
    [local, central, end, place.to_le_bytes().to_vec(), vec![0; 2]].concat()
}

/// A copy of the golden `mistral-moe` whose tensors and configuration can be changed.
pub(crate) struct Changed {
    /// Tensors by name: type, shape, bytes.
    pub(crate) tensors: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>,
    /// `config.json`.
    pub(crate) config: serde_json::Value,
}

impl Changed {
    /// The golden as it is.
    pub(crate) fn new() -> Changed {
        let folder = golden("mistral-moe");
        let bytes = fs::read(folder.join("model.safetensors")).expect("the golden is there");
        let tensors = SafeTensors::deserialize(&bytes).expect("the golden is sound");
        let owned = |(name, view): (String, TensorView<'_>)| {
            (name, (view.dtype(), view.shape().to_vec(), view.data().to_vec()))
        };
        let config = fs::read(folder.join("config.json")).expect("the golden is there");
        Changed {
            tensors: tensors.tensors().into_iter().map(owned).collect(),
            config: serde_json::from_slice(&config).expect("the golden is sound"),
        }
    }

    /// Writes the checkpoint into `folder`.
    pub(crate) fn write(&self, folder: &Path) {
        fs::create_dir_all(folder.join("clip")).expect("a folder");
        for name in ["config.json", "preprocessor_config.json"] {
            let from = golden("mistral-moe").join("clip").join(name);
            fs::copy(from, folder.join("clip").join(name)).expect("a copy");
        }
        fs::write(folder.join("config.json"), self.config.to_string()).expect("a file");
        let views = self.tensors.iter().map(|(name, (dtype, shape, bytes))| {
            (name, TensorView::new(*dtype, shape.clone(), bytes).expect("a tensor"))
        });
        safetensors::serialize_to_file(views, None, &folder.join("model.safetensors"))
            .expect("a file");
    }
}
