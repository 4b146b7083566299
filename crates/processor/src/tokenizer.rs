//! From text to ids and back.

mod huggingface;
mod sentencepiece;
mod stream;
mod utf8;

use std::path::Path;

use cumo_bundle::TokenizerKind;

use crate::error::{Error, Result};
use crate::image::read_file;
use huggingface::HuggingFace;
pub use huggingface::panic_is_caught;
use sentencepiece::SentencePiece;
pub use stream::StreamDecoder;

/// The most bytes of a vocabulary file that are read. Gemma's, the largest known, have 34 MB.
const MAX_FILE_BYTES: u64 = 128 << 20;

/// A vocabulary: text to ids as the slow `LlamaTokenizer` of Hugging Face transformers 4.37.2 does
/// (`tokenizer.model`), or as a `tokenizer.json` says.
#[derive(Debug)]
pub struct Tokenizer(Vocabulary);

#[derive(Debug)]
enum Vocabulary {
    SentencePiece(Box<SentencePiece>),
    HuggingFace(Box<HuggingFace>),
}

impl Tokenizer {
    /// Reads a vocabulary file: JSON of at most 128 MiB where its first byte that is no white space is
    /// `{`, a SentencePiece model of at most 16 MiB otherwise.
    ///
    /// # Errors
    /// Where the file cannot be read, is damaged or needs something that is not supported; the path
    /// is named.
    pub fn open(path: &Path) -> Result<Self> {
        read_file(path, MAX_FILE_BYTES)
            .and_then(|bytes| {
                let json = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
                let kind = match json {
                    true => TokenizerKind::HuggingFace,
                    false => TokenizerKind::SentencePiece,
                };
                Self::from_bytes(&bytes, kind)
            })
            .map_err(Error::of(path))
    }

    /// A vocabulary from the bytes of its file.
    ///
    /// # Errors
    /// Where they are damaged or need something that is not supported.
    pub fn from_bytes(bytes: &[u8], kind: TokenizerKind) -> Result<Self> {
        Ok(Tokenizer(match kind {
            TokenizerKind::SentencePiece => {
                Vocabulary::SentencePiece(Box::new(SentencePiece::from_bytes(bytes)?))
            }
            TokenizerKind::HuggingFace => {
                Vocabulary::HuggingFace(Box::new(HuggingFace::from_bytes(bytes)?))
            }
        }))
    }

    /// Which file the vocabulary came from.
    pub fn kind(&self) -> TokenizerKind {
        match self.0 {
            Vocabulary::SentencePiece(_) => TokenizerKind::SentencePiece,
            Vocabulary::HuggingFace(_) => TokenizerKind::HuggingFace,
        }
    }

    /// The ids of a text, BOS first.
    ///
    /// The pieces `<s>`, `</s>` and `<unk>` in the text become their ids, and what lies between them
    /// is encoded on its own, each part with its own prefix space: the slow tokenizer's "legacy"
    /// behaviour, which CuMo was trained with. A `tokenizer.json` decides itself whether there is a
    /// BOS and which texts are special.
    ///
    /// # Errors
    /// Only with a `tokenizer.json` whose model cannot represent the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        match &self.0 {
            Vocabulary::SentencePiece(model) => Ok(model.encode(text)),
            Vocabulary::HuggingFace(model) => model.encode(text),
        }
    }

    /// The text of ids. BOS, EOS and unknown are skipped, the space that encoding puts first is
    /// taken away, bytes that are no UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// Where an id is outside the vocabulary.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        match &self.0 {
            Vocabulary::SentencePiece(model) => model.decode(ids),
            Vocabulary::HuggingFace(model) => model.decode(ids),
        }
    }

    /// A decoder for ids that come one by one.
    pub fn stream(&self) -> StreamDecoder<'_> {
        StreamDecoder::new(self)
    }

    /// Ids below this are in the vocabulary.
    pub fn vocab_size(&self) -> usize {
        match &self.0 {
            Vocabulary::SentencePiece(model) => model.vocab_size(),
            Vocabulary::HuggingFace(model) => model.vocab_size(),
        }
    }

    /// The id that begins a text, if the vocabulary has one.
    pub fn bos_id(&self) -> Option<u32> {
        match &self.0 {
            Vocabulary::SentencePiece(model) => model.bos_id(),
            Vocabulary::HuggingFace(model) => model.bos_id(),
        }
    }

    /// The id that ends a text, if the vocabulary has one.
    pub fn eos_id(&self) -> Option<u32> {
        match &self.0 {
            Vocabulary::SentencePiece(model) => model.eos_id(),
            Vocabulary::HuggingFace(model) => model.eos_id(),
        }
    }

    /// The id that stands for what the vocabulary lacks, if it has one.
    pub fn unk_id(&self) -> Option<u32> {
        match &self.0 {
            Vocabulary::SentencePiece(model) => Some(model.unk_id()),
            Vocabulary::HuggingFace(_) => None,
        }
    }

    /// The piece of an id as the vocabulary writes it, for example `▁the` or `<0x0A>`.
    pub fn id_to_piece(&self, id: u32) -> Option<&str> {
        match &self.0 {
            Vocabulary::SentencePiece(model) => model.piece(id),
            Vocabulary::HuggingFace(model) => model.piece(id),
        }
    }
}
