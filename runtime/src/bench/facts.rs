//! What was measured: the model's identity and sizes, and the images'.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::Path;

use cumo_bundle::{Manifest, MoeFacts, hash_reader};
use cumo_processor::{ImageLimits, load_image};
use cumo_results::schema::{Image, Model, ModelPart};

use crate::error::Error;
use crate::identity::Identity;

/// A model's identity and sizes: `manifest` is that of the opened bundle, or of the bundle that
/// the engines in `folder` were built of.
///
/// # Errors
/// [`Error::File`] where the folder's manifest cannot be read.
pub fn model_facts(folder: &Path, manifest: &Manifest) -> Result<Model, Error> {
    let Identity { bundle_sha256, engines_sha256 } = Identity::of(folder)?;
    let facts = &manifest.model;
    let crops = facts.vision.scales.iter().fold(0_u64, |sum, scale| {
        let scale = *scale as u64;
        sum.saturating_add(scale.saturating_mul(scale))
    });
    Ok(Model {
        name: facts.name.clone(),
        target: manifest.target.name().to_owned(),
        bundle_sha256,
        engines_sha256,
        parts: parts(manifest),
        files_bytes: Some(
            manifest.files.values().map(|file| file.bytes).fold(0, u64::saturating_add),
        ),
        context_length: Some(facts.llm.context_length as u64),
        image_tokens: Some(facts.vision.image_tokens as u64),
        image_crops: Some(crops),
    })
}

fn parts(manifest: &Manifest) -> BTreeMap<String, ModelPart> {
    let facts = &manifest.model;
    let sizes = |name: &str| -> (Option<usize>, Option<usize>, Option<MoeFacts>) {
        match name {
            "vision" => {
                (Some(facts.vision.num_layers), Some(facts.vision.hidden_size), facts.vision.moe)
            }
            "connector" => (None, None, facts.vision.connector_moe),
            "embed" => (None, Some(facts.llm.hidden_size), None),
            "llm" => (Some(facts.llm.num_layers), Some(facts.llm.hidden_size), facts.llm.moe),
            _ => (None, None, None),
        }
    };
    let part = |(name, precision): (&String, &cumo_bundle::PartPrecision)| {
        let (num_layers, hidden_size, moe) = sizes(name);
        let of_part = |file: &&str| file.split('.').next() == Some(name.as_str());
        let weights = weights_files(manifest).into_iter().filter(of_part).collect::<Vec<_>>();
        let bytes = weights.iter().filter_map(|file| Some(manifest.files.get(*file)?.bytes));
        let part = ModelPart {
            weights: precision.weights.name().to_owned(),
            activations: precision.activations.name().to_owned(),
            num_layers: num_layers.map(|layers| layers as u64),
            hidden_size: hidden_size.map(|size| size as u64),
            num_experts: moe.map(|moe| moe.num_experts as u64),
            num_experts_per_tok: moe.map(|moe| moe.num_experts_per_tok as u64),
            weights_bytes: (!weights.is_empty()).then(|| bytes.fold(0, u64::saturating_add)),
        };
        (name.clone(), part)
    };
    manifest.precision.iter().map(part).collect()
}

/// Bytes of the files of weights.
pub fn weights_bytes(manifest: &Manifest) -> u64 {
    let bytes = |file: &str| manifest.files.get(file).map_or(0, |entry| entry.bytes);
    weights_files(manifest).into_iter().map(bytes).fold(0, u64::saturating_add)
}

/// The bundle's files that are neither graphs nor the tokenizer's.
fn weights_files(manifest: &Manifest) -> BTreeSet<&str> {
    let graphs = manifest.graphs.values();
    let graphs: BTreeSet<&str> = graphs
        .flat_map(|graph| std::iter::once(graph.file.as_str()).chain(graph.twin.as_deref()))
        .chain(manifest.model.tokenizer.map(|kind| kind.file_name()))
        .collect();
    let files = manifest.files.keys().map(String::as_str);
    files.filter(|file| !graphs.contains(file)).collect()
}

/// What an image is; its pixels are decoded for it.
///
/// # Errors
/// [`Error::Processor`] where it is none; [`Error::File`].
pub fn image_facts(path: &Path, limits: &ImageLimits) -> Result<Image, Error> {
    let image = load_image(path, limits)?;
    let failed = |source: io::Error| Error::File { path: path.to_owned(), source };
    let mut file_bytes = 0;
    let file = File::open(path).map_err(failed)?;
    let sha256 = hash_reader(file, |bytes| file_bytes += bytes).map_err(failed)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (width, height) = (image.width() as u64, image.height() as u64);
    Ok(Image { name, sha256, file_bytes, width, height })
}

/// The hash of a prompt's ids as little-endian numbers of 64 bits.
pub(super) fn prompt_sha256(ids: &[i64]) -> Option<String> {
    let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    hash_reader(&bytes[..], |_| ()).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::testing::{self, Form};

    fn hash(bytes: &[u8]) -> String {
        hash_reader(bytes, |_| ()).unwrap()
    }

    #[test]
    fn a_bundle_is_known_by_its_manifest_and_engines_by_both() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = testing::bundle(Form::LayersInPlace).manifest;
        let text = [serde_json::to_vec_pretty(&manifest).unwrap(), b"\n".to_vec()].concat();
        fs::write(folder.path().join("manifest.json"), &text).unwrap();
        let bundle = model_facts(folder.path(), &manifest).unwrap();
        assert_eq!((&bundle.bundle_sha256, &bundle.engines_sha256), (&hash(&text), &None));

        let engines = serde_json::json!({"format": "cumo-engines", "bundle": manifest});
        let engines = serde_json::to_vec(&engines).unwrap();
        fs::write(folder.path().join("manifest.json"), &engines).unwrap();
        // As it runs: with room for fewer positions than the bundle's.
        let mut runs_as = manifest.clone();
        runs_as.model.llm.context_length = 3;
        let built = model_facts(folder.path(), &runs_as).unwrap();
        assert_eq!(built.bundle_sha256, bundle.bundle_sha256);
        assert_eq!(built.engines_sha256, Some(hash(&engines)));
        assert_eq!(built.context_length, Some(3));

        fs::remove_file(folder.path().join("manifest.json")).unwrap();
        let error = model_facts(folder.path(), &manifest).unwrap_err().to_string();
        assert!(error.contains("manifest.json: "), "{error}");
    }

    #[test]
    fn weights_are_what_is_neither_graph_nor_tokenizer() {
        let mut manifest = testing::bundle(Form::LayersInPlace).manifest;
        let entry = |bytes| cumo_bundle::FileEntry { bytes, sha256: String::new() };
        manifest.files = [("llm.weights", 30), ("vision.weights", 12), ("vision.onnx", 5)]
            .map(|(name, bytes)| (name.to_owned(), entry(bytes)))
            .into();
        assert_eq!(weights_bytes(&manifest), 42);
    }
}
