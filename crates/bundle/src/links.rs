//! Links in a bundle's folder.
//!
//! A file may be a link: download caches keep every file elsewhere and link to it. ONNX Runtime
//! reads weights only where they really lie in the folder of their graph, as it was named or as it
//! really is. So links of weights may lead into the bundle's folder, or into the one folder where
//! all graphs really lie, as in a cache; links of graphs and of the tokenizer may lead anywhere.

use std::fs;
use std::path::{Path, PathBuf};

use crate::manifest::Manifest;

/// Where the weights of a bundle may really lie.
pub(crate) struct Links<'a> {
    path: &'a Path,
    manifest: &'a Manifest,
    folders: Vec<PathBuf>,
}

impl<'a> Links<'a> {
    /// Looks at where the bundle's folder and its graphs really are.
    pub(crate) fn new(path: &'a Path, manifest: &'a Manifest) -> Self {
        let mut folders: Vec<PathBuf> = path.canonicalize().into_iter().collect();
        let mut graphs = manifest.graphs.values().map(|graph| real_folder(&path.join(&graph.file)));
        if let Some(Some(first)) = graphs.next()
            && graphs.all(|folder| folder.as_ref() == Some(&first))
        {
            folders.push(first);
        }
        Links { path, manifest, folders }
    }

    /// What is wrong with where a file of the bundle leads, if anything. A broken link is no fault
    /// here.
    pub(crate) fn problem(&self, name: &str) -> Option<String> {
        let is_graph = self.manifest.graphs.values().any(|graph| graph.file == name);
        let tokenizer = self.manifest.model.tokenizer.map(|kind| kind.file_name());
        if is_graph || tokenizer == Some(name) {
            return None;
        }
        let file = self.path.join(name);
        fs::symlink_metadata(&file).ok().filter(|metadata| metadata.is_symlink())?;
        let target = file.canonicalize().ok()?;
        let inside = self.folders.iter().any(|folder| target.starts_with(folder));
        (!inside).then(|| {
            format!(
                "`{name}` is a link to {}, outside the bundle, where ONNX Runtime does not read weights: \
                 link all of the bundle's files into one folder, link the bundle's folder itself, or copy the file",
                target.display()
            )
        })
    }
}

fn real_folder(file: &Path) -> Option<PathBuf> {
    Some(file.canonicalize().ok()?.parent()?.to_owned())
}
