//! What can be wrong with an image, a vocabulary or ids.

use std::io;
use std::path::{Path, PathBuf};

/// What this crate's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// User input could not be turned into model input.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something is wrong with the file; the source says what.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<Error>,
    },
    /// The file could not be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The path leads to a folder, a pipe or a device.
    #[error("not a regular file")]
    NotAFile,
    /// The file is larger than the limit; nothing of it was read.
    #[error("{bytes} bytes, the limit is {limit}")]
    TooManyBytes {
        /// Bytes of the file.
        bytes: u64,
        /// The most that is read.
        limit: u64,
    },
    /// The image is larger than the limit; no memory was taken for its pixels.
    #[error("{width} x {height} pixels, the limit is {limit} pixels in all and {edge} an edge")]
    TooManyPixels {
        /// Pixels in a row.
        width: u64,
        /// Rows.
        height: u64,
        /// The most pixels that are decoded.
        limit: u64,
        /// The most pixels in a row or column.
        edge: u64,
    },
    /// The bytes are no image of a known format.
    #[error("not an image of a supported format ({supported})", supported = SUPPORTED_IMAGES)]
    UnknownImage,
    /// The image is of a known format, but of a kind that is not supported.
    #[error("{format} of an unsupported kind: {detail}")]
    UnsupportedImage {
        /// The format's name.
        format: &'static str,
        /// What is not supported.
        detail: String,
    },
    /// The image ends before all of its pixels are there.
    #[error("truncated {format}: {detail}")]
    TruncatedImage {
        /// The format's name.
        format: &'static str,
        /// Where it ends.
        detail: String,
    },
    /// The image contradicts its format.
    #[error("damaged {format}: {detail}")]
    DamagedImage {
        /// The format's name.
        format: &'static str,
        /// What the decoder says.
        detail: String,
    },
    /// The vocabulary contradicts its format or itself.
    #[error("not a usable {kind}: {detail}")]
    Vocabulary {
        /// `SentencePiece model` or `tokenizer.json`.
        kind: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// The vocabulary is sound, but of a kind that is not supported.
    #[error("SentencePiece model not supported: {0}")]
    UnsupportedVocabulary(String),
    /// An id is not in the vocabulary.
    #[error("id {id} is outside the vocabulary of {vocab_size} tokens")]
    UnknownId {
        /// The id.
        id: u32,
        /// Ids below this are in the vocabulary.
        vocab_size: usize,
    },
}

/// The formats that images may have, for messages.
const SUPPORTED_IMAGES: &str = "PNG, JPEG, WebP, BMP, GIF";

impl Error {
    /// Says which file an error is about.
    pub(crate) fn of(path: &Path) -> impl FnOnce(Error) -> Error {
        let path = path.to_owned();
        move |source| Error::File { path, source: Box::new(source) }
    }
}
