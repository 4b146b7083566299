//! What lies in a bundle's folder and is not the bundle's.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::error::Error;
use crate::names;

/// The most names that are kept.
const MAX_NAMES: usize = 100;

/// Files and folders that a manifest does not list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unlisted {
    /// Their names, sorted, folders with `/` behind them: the first 100 that were found.
    pub names: Vec<String>,
    /// How many more there are.
    pub others: usize,
}

impl Unlisted {
    /// Looks into the folder, and into folders of listed files.
    pub(crate) fn find<'a>(
        folder: &Path,
        listed: impl Iterator<Item = &'a str> + Clone,
    ) -> Result<Self, Error> {
        let files: BTreeSet<&str> = listed.clone().chain([names::MANIFEST_FILE]).collect();
        let parents = listed.flat_map(|name| name.match_indices('/').map(|(end, _)| &name[..end]));
        let folders: BTreeSet<&str> = parents.collect();
        let mut found = Unlisted::default();
        for inner in std::iter::once("").chain(folders.iter().copied()) {
            let path = folder.join(inner);
            for entry in fs::read_dir(&path).map_err(|source| Error::io(&path, source))? {
                let entry = entry.map_err(|source| Error::io(&path, source))?;
                let name = entry.file_name().to_string_lossy().into_owned();
                let name = if inner.is_empty() { name } else { format!("{inner}/{name}") };
                if files.contains(name.as_str()) || folders.contains(name.as_str()) {
                    continue;
                }
                let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
                found.add(if is_folder { name + "/" } else { name });
            }
        }
        found.names.sort();
        Ok(found)
    }

    fn add(&mut self, name: String) {
        match self.names.len() < MAX_NAMES {
            true => self.names.push(name),
            false => self.others += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_listed_files_are_looked_into_and_others_are_named() {
        let folder = tempfile::tempdir().unwrap();
        for inner in ["a/b", "other"] {
            fs::create_dir_all(folder.path().join(inner)).unwrap();
        }
        for name in ["manifest.json", "x.onnx", "x.onnx.bak", "a/b/y.data", "a/b/z", "other/x.onnx"]
        {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let found = Unlisted::find(folder.path(), ["x.onnx", "a/b/y.data"].into_iter()).unwrap();
        assert_eq!(found.names, ["a/b/z", "other/", "x.onnx.bak"]);
        assert_eq!(found.others, 0);
    }

    #[test]
    fn of_very_many_files_some_are_named_and_the_rest_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        for index in 0..MAX_NAMES + 7 {
            fs::write(folder.path().join(index.to_string()), "").unwrap();
        }
        let found = Unlisted::find(folder.path(), std::iter::empty()).unwrap();
        assert_eq!((found.names.len(), found.others), (MAX_NAMES, 7));
    }
}
