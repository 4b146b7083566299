//! Opening a bundle: manifest, consistency, and the size of every file.

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::links::Links;
use crate::manifest::{FORMAT, FORMAT_VERSION, Manifest};
use crate::{names, validate};

/// The largest manifest read. A 70B model's, with a step a layer, has under 1 MiB.
pub(crate) const MAX_MANIFEST_BYTES: u64 = 64 << 20;

/// A bundle whose manifest is consistent and whose files have the sizes it says.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// The bundle's folder.
    pub path: PathBuf,
    /// Its manifest.
    pub manifest: Manifest,
}

impl Bundle {
    /// Opens a bundle: reads its manifest, checks that it agrees with itself and that every file
    /// is there with its size. Hashes are checked by [`Bundle::verify`] only.
    ///
    /// # Errors
    /// [`Error`] names the folder or file, and lists every problem of a kind at once.
    pub fn open(path: &Path) -> Result<Bundle, Error> {
        let manifest = Bundle::read_manifest(path)?;
        let links = Links::new(path, &manifest);
        let problems: Vec<String> = manifest
            .files
            .iter()
            .filter_map(|(name, entry)| file_problem(&links, &path.join(name), name, entry.bytes))
            .collect();
        let path = path.to_owned();
        match problems.is_empty() {
            true => Ok(Bundle { path, manifest }),
            false => Err(Error::Files { path, problems }),
        }
    }

    /// Reads and checks the manifest alone.
    ///
    /// # Errors
    /// As [`Bundle::open`], without those about other files.
    pub fn read_manifest(path: &Path) -> Result<Manifest, Error> {
        let file = path.join(names::MANIFEST_FILE);
        let text = manifest_text(&file)?.ok_or_else(|| absent(path, Error::NoManifest))?;
        parse_manifest(&file, &text)
    }

    /// The path of one of the bundle's files.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// Why there is no manifest: the folder is not there, or `otherwise`.
pub(crate) fn absent(path: &Path, otherwise: fn(PathBuf) -> Error) -> Error {
    match path.exists() {
        true => otherwise(path.to_owned()),
        false => Error::NoFolder(path.to_owned()),
    }
}

/// The text of a manifest; none where there is no such file.
pub(crate) fn manifest_text(file: &Path) -> Result<Option<Vec<u8>>, Error> {
    let metadata = match fs::metadata(file) {
        Ok(metadata) if metadata.is_file() => metadata,
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Err(Error::io(file, error));
        }
        _ => return Ok(None),
    };
    if metadata.len() > MAX_MANIFEST_BYTES {
        let (bytes, limit) = (metadata.len(), MAX_MANIFEST_BYTES);
        return Err(Error::ManifestTooLarge { path: file.to_owned(), bytes, limit });
    }
    let mut text = Vec::new();
    fs::File::open(file)
        .and_then(|opened| opened.take(MAX_MANIFEST_BYTES).read_to_end(&mut text))
        .map_err(|source| Error::io(file, source))?;
    Ok(Some(text))
}

/// Parses and checks a manifest; `file` is for messages.
fn parse_manifest(file: &Path, text: &[u8]) -> Result<Manifest, Error> {
    let json = |source| Error::Json { path: file.to_owned(), source };
    let value: serde_json::Value = serde_json::from_slice(text).map_err(json)?;
    let format = value.get("format").and_then(|v| v.as_str()).unwrap_or_default();
    let version = value.get("format_version").and_then(|v| v.as_u64()).unwrap_or_default();
    if format != FORMAT || version != u64::from(FORMAT_VERSION) {
        let (path, format) = (file.to_owned(), format.to_owned());
        return Err(Error::Version { path, format, version });
    }
    // From the text again, not from `value`, so that messages carry line and column.
    let manifest: Manifest = serde_json::from_slice(text).map_err(json)?;
    let problems = validate::problems(&manifest);
    match problems.is_empty() {
        true => Ok(manifest),
        false => Err(Error::Inconsistent { path: file.to_owned(), problems }),
    }
}

/// What is wrong with a file's presence, size or place, if anything.
pub(crate) fn file_problem(
    links: &Links<'_>,
    path: &Path,
    name: &str,
    bytes: u64,
) -> Option<String> {
    let is_link = || fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
    size_problem(path, name, bytes).or_else(|| links.problem(name).filter(|_| is_link()))
}

/// What is wrong with a file's presence or size, if anything; links are followed.
pub(crate) fn size_problem(path: &Path, name: &str, bytes: u64) -> Option<String> {
    match fs::symlink_metadata(path) {
        Err(error) => Some(format!("`{name}` cannot be read ({error})")),
        Ok(metadata) if metadata.is_symlink() => match fs::metadata(path) {
            Err(error) => Some(format!("`{name}` is a broken link ({error})")),
            Ok(metadata) => regular_file_problem(&metadata, name, bytes),
        },
        Ok(metadata) => regular_file_problem(&metadata, name, bytes),
    }
}

fn regular_file_problem(metadata: &fs::Metadata, name: &str, bytes: u64) -> Option<String> {
    if !metadata.is_file() {
        return Some(format!("`{name}` is not a file"));
    }
    (metadata.len() != bytes)
        .then(|| format!("`{name}` has {} bytes, the manifest says {bytes}", metadata.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::CacheUpdate;
    use crate::validate::tests::{layered, manifest};
    use crate::verify::FileStatus;
    use crate::{Dim, Dtype, Target, WeightEntry};
    use proptest::prelude::*;

    fn write(manifest: &Manifest) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, entry) in &manifest.files {
            fs::write(folder.path().join(name), vec![0; entry.bytes as usize]).unwrap();
        }
        fs::write(folder.path().join(names::MANIFEST_FILE), serde_json::to_vec(manifest).unwrap())
            .unwrap();
        folder
    }

    #[test]
    fn a_whole_bundle_opens() {
        let folder = write(&manifest());
        assert_eq!(Bundle::open(folder.path()).unwrap().manifest, manifest());
    }

    #[test]
    fn a_folder_without_manifest_is_no_bundle() {
        let folder = tempfile::tempdir().unwrap();
        let error = Bundle::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("no manifest.json"), "{error}");
    }

    #[test]
    fn every_cut_or_missing_file_is_named() {
        let folder = write(&manifest());
        fs::write(folder.path().join("vision.onnx"), b"x").unwrap();
        fs::remove_file(folder.path().join("llm.onnx")).unwrap();
        let error = Bundle::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("`vision.onnx` has 1 bytes, the manifest says 4"), "{error}");
        assert!(error.contains("`llm.onnx` cannot be read"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn links_open_where_weights_stay_with_their_graphs() {
        use std::os::unix::fs::symlink;
        let mut manifest = manifest();
        let entry = manifest.files["llm.onnx"].clone();
        manifest.files.insert("llm.onnx.data".to_owned(), entry);
        let blobs = write(&manifest);
        let link_all = || {
            let folder = tempfile::tempdir().unwrap();
            for name in manifest.files.keys().map(String::as_str).chain([names::MANIFEST_FILE]) {
                symlink(blobs.path().join(name), folder.path().join(name)).unwrap();
            }
            folder
        };
        // As in a download cache: all files are links into one folder.
        let cache = link_all();
        Bundle::open(cache.path()).unwrap();
        let statuses = Bundle::verify(cache.path(), |_| ()).unwrap();
        assert!(!statuses.iter().any(|check| matches!(check.status, FileStatus::Damaged(_))));
        // The folder itself is a link.
        symlink(blobs.path(), cache.path().join("folder")).unwrap();
        Bundle::open(&cache.path().join("folder")).unwrap();
        // One graph's weights lie elsewhere.
        let elsewhere = tempfile::tempdir().unwrap();
        let weights = elsewhere.path().join("weights");
        fs::write(&weights, [0; 4]).unwrap();
        fs::remove_file(cache.path().join("llm.onnx.data")).unwrap();
        symlink(&weights, cache.path().join("llm.onnx.data")).unwrap();
        let error = Bundle::open(cache.path()).unwrap_err().to_string();
        assert!(
            error.contains("`llm.onnx.data` is a link to") && error.contains("copy"),
            "{error}"
        );
        let damaged = Bundle::verify(cache.path(), |_| ()).unwrap();
        let damaged = damaged.iter().find(|check| check.name == "llm.onnx.data").unwrap();
        assert!(matches!(&damaged.status, FileStatus::Damaged(what) if what.contains("a link to")));
    }

    #[test]
    fn another_version_is_refused_before_its_fields_are_read() {
        let text = br#"{"format": "cumo-bundle", "format_version": 7, "new": 1}"#;
        let error = parse_manifest(Path::new("m"), text).unwrap_err().to_string();
        assert!(error.contains("version 7, this program reads `cumo-bundle` version 1"), "{error}");
    }

    #[test]
    fn a_misspelt_key_is_named_with_its_line() {
        let text =
            serde_json::to_string_pretty(&manifest()).unwrap().replace("\"plan\"", "\"plam\"");
        let error = parse_manifest(Path::new("m"), text.as_bytes()).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("`plam`") && cause.contains("line "), "{error}: {cause}");
    }

    #[test]
    fn a_cut_weights_file_is_named_with_both_sizes() {
        let folder = write(&layered());
        assert_eq!(Bundle::open(folder.path()).unwrap().manifest, layered());
        let file = fs::File::options().write(true).open(folder.path().join("llm.weights"));
        file.unwrap().set_len(12000).unwrap();
        let error = Bundle::open(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains("`llm.weights` has 12000 bytes, the manifest says 12288"),
            "{error}"
        );
    }

    #[test]
    fn a_manifest_from_before_weights_and_ladders_is_read() {
        let mut text = serde_json::to_value(manifest()).unwrap();
        assert!(text.get("weights").is_none() && text["plan"].get("attended").is_none());
        assert!(text["graphs"]["llm"].get("twin").is_none());
        text["target"] = "ort-cpu".into();
        let read = parse_manifest(Path::new("m"), text.to_string().as_bytes()).unwrap();
        assert_eq!(read.target, Target::OrtCpu);
        assert!(read.weights.is_empty() && read.plan.attended.is_empty());
    }

    #[test]
    fn a_target_is_called_in_the_manifest_what_it_is_called_elsewhere() {
        for target in Target::ALL {
            assert_eq!(serde_json::to_value(target).unwrap(), target.name());
        }
    }

    /// Numbers, and ends of ranges, that a damaged manifest could have in place of another.
    const NUMBERS: [&str; 6] = ["0", "1", "-1", "18446744073709551615", "4294967296", "1e300"];

    proptest! {
        #[test]
        fn whatever_is_written_is_read(
            offsets in proptest::collection::vec(0_u64..3, 0..5),
            shape in proptest::collection::vec(1_usize..=8, 0..=3),
            dtype in proptest::sample::select(vec![Dtype::F32, Dtype::F16, Dtype::I64, Dtype::I32]),
            rungs in proptest::collection::btree_set(1_usize..64, 0..6),
            rows: bool,
            target in proptest::sample::select(Target::ALL.to_vec()),
        ) {
            let mut written = layered();
            written.target = target;
            written.plan.attended = rungs.into_iter().chain([64]).collect();
            if rows {
                written.plan.cache.iter_mut().for_each(|slot| slot.update = CacheUpdate::Rows);
                let layer = written.graphs.get_mut("decoder_layer").unwrap();
                layer.outputs[1].shape[2] = Dim::Symbol(names::SEQUENCE.to_owned());
            }
            for (index, offset) in offsets.iter().enumerate() {
                let (file, shape) = ("llm.weights".to_owned(), shape.clone());
                let weight = WeightEntry { file, offset: offset * 4096, dtype, shape };
                written.weights.insert(format!("more.{index}"), weight);
            }
            let text = serde_json::to_vec(&written).unwrap();
            prop_assert_eq!(parse_manifest(Path::new("m"), &text).unwrap(), written);
        }

        #[test]
        fn another_number_anywhere_never_panics(
            at in any::<proptest::sample::Index>(),
            number in proptest::sample::select(NUMBERS.to_vec()),
        ) {
            let text = serde_json::to_string(&layered()).unwrap();
            let digits = |pair: &(usize, char)| pair.1.is_ascii_digit();
            let places: Vec<usize> = text.char_indices().filter(digits).map(|p| p.0).collect();
            let at = places[at.index(places.len())];
            let end = text[at..].find(|c: char| !c.is_ascii_digit()).map_or(text.len(), |n| at + n);
            let damaged = [&text[..at], number, &text[end..]].concat();
            let _ = parse_manifest(Path::new("m"), damaged.as_bytes());
        }

        #[test]
        fn a_piece_put_elsewhere_never_panics(
            from in any::<proptest::sample::Index>(),
            length in 0_usize..200,
            to in any::<proptest::sample::Index>(),
        ) {
            let text = serde_json::to_vec(&layered()).unwrap();
            let from = from.index(text.len());
            let piece = &text[from..text.len().min(from + length)];
            let to = to.index(text.len());
            let damaged = [&text[..to], piece, &text[to..]].concat();
            let _ = parse_manifest(Path::new("m"), &damaged);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = parse_manifest(Path::new("m"), &bytes);
        }

        #[test]
        fn a_damaged_manifest_never_panics(at in any::<proptest::sample::Index>(), byte: u8) {
            let mut text = serde_json::to_vec(&manifest()).unwrap();
            let at = at.index(text.len());
            text[at] = byte;
            let _ = parse_manifest(Path::new("m"), &text);
        }
    }
}
