//! `tokenizer.model` with the behaviour of Hugging Face's slow `LlamaTokenizer`, `legacy=True`.

mod bpe;
mod charsmap;
mod decode;
mod normalizer;
mod proto;
mod symbols;
mod vocabulary;

use prost::Message;

pub(super) use decode::Decoder;

use crate::error::{Error, Result};
use normalizer::Normalizer;
use vocabulary::{Kind, Vocabulary};

/// The character that stands for a space in pieces.
const SPACE: char = '▁';

/// What errors call the file.
const KIND: &str = "SentencePiece model";

/// The largest model read: a piece of two bytes takes forty in memory. Models of 256,000 pieces have
/// under 5 MB.
const MAX_BYTES: usize = 16 << 20;

fn damaged(detail: impl Into<String>) -> Error {
    Error::Vocabulary { kind: KIND, detail: detail.into() }
}

/// A SentencePiece model of type BPE.
#[derive(Debug)]
pub(super) struct SentencePiece {
    vocabulary: Vocabulary,
    normalizer: Normalizer,
    /// Special pieces that are looked for in texts.
    special: Vec<(String, u32)>,
    bos: Option<u32>,
    eos: Option<u32>,
}

impl SentencePiece {
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > MAX_BYTES {
            return Err(damaged(format!("{} bytes, at most {MAX_BYTES} are read", bytes.len())));
        }
        let proto = proto::ModelProto::decode(bytes).map_err(|e| damaged(e.to_string()))?;
        if proto.pieces.is_empty() {
            return Err(damaged("it has no pieces"));
        }
        let trainer = proto.trainer_spec.unwrap_or_default();
        let normalizer = proto.normalizer_spec.unwrap_or_default();
        check_supported(&trainer, proto.denormalizer_spec.as_ref())?;
        let vocabulary = Vocabulary::new(proto.pieces, &trainer)?;
        let control = |piece: &str| {
            let id = vocabulary.id(piece)?;
            (vocabulary.kind(id) == Some(Kind::Control)).then_some(id)
        };
        let (bos, eos) = (control(trainer.bos_piece()), control(trainer.eos_piece()));
        let special = [bos, eos, Some(vocabulary.unk())]
            .into_iter()
            .flatten()
            .filter_map(|id| Some((vocabulary.piece(id)?.to_owned(), id)))
            .collect();
        let normalizer = Normalizer::new(&normalizer, &trainer)?;
        Ok(SentencePiece { vocabulary, normalizer, special, bos, eos })
    }

    pub(super) fn encode(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::with_capacity(text.len() / 3 + 2);
        ids.extend(self.bos);
        let mut rest = text;
        while let Some((at, piece, id)) = self.next_special(rest) {
            self.encode_plain(&rest[..at], &mut ids);
            ids.push(id);
            rest = &rest[at + piece.len()..];
        }
        self.encode_plain(rest, &mut ids);
        ids
    }

    /// The first special piece in a text, the longest where two begin at one place. Looks no further
    /// than its end, so that many pieces in a text take no more time than few.
    fn next_special(&self, text: &str) -> Option<(usize, &str, u32)> {
        let bytes = text.as_bytes();
        (0..bytes.len()).find_map(|at| {
            let here = |(piece, _): &&(String, u32)| bytes[at..].starts_with(piece.as_bytes());
            let (piece, id) = self.special.iter().filter(here).max_by_key(|(p, _)| p.len())?;
            Some((at, piece.as_str(), *id))
        })
    }

    /// Encodes a text that has no special pieces.
    fn encode_plain(&self, text: &str, ids: &mut Vec<u32>) {
        if !text.is_empty() {
            let normalized = self.normalizer.normalize(text, self.vocabulary.user_defined());
            bpe::encode(&self.vocabulary, &normalized, ids);
        }
    }

    pub(super) fn decode(&self, ids: &[u32]) -> Result<String> {
        let (mut decoder, mut text) = (Decoder::default(), String::new());
        for &id in ids {
            decoder.push(self, id, &mut text)?;
        }
        decoder.finish(&mut text);
        Ok(text)
    }

    pub(super) fn vocab_size(&self) -> usize {
        self.vocabulary.len()
    }

    pub(super) fn bos_id(&self) -> Option<u32> {
        self.bos
    }

    pub(super) fn eos_id(&self) -> Option<u32> {
        self.eos
    }

    pub(super) fn unk_id(&self) -> u32 {
        self.vocabulary.unk()
    }

    pub(super) fn piece(&self, id: u32) -> Option<&str> {
        self.vocabulary.piece(id)
    }
}

fn check_supported(
    trainer: &proto::TrainerSpec,
    denormalizer: Option<&proto::NormalizerSpec>,
) -> Result<()> {
    let unsupported = |what: &str| Err(Error::UnsupportedVocabulary(what.into()));
    match proto::ModelType::try_from(trainer.model_type.unwrap_or(1)) {
        Ok(proto::ModelType::Bpe) => {}
        Ok(proto::ModelType::Unigram) => return unsupported("it is of type unigram, not BPE"),
        Ok(proto::ModelType::Word) => return unsupported("it is of type word, not BPE"),
        Ok(proto::ModelType::Char) => return unsupported("it is of type char, not BPE"),
        Err(_) => return Err(damaged(format!("model type {:?}", trainer.model_type))),
    }
    if denormalizer.is_some_and(|spec| !spec.precompiled_charsmap().is_empty()) {
        return unsupported("it denormalizes decoded text");
    }
    Ok(())
}
