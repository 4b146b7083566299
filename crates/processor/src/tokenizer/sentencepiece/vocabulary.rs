//! Pieces and their ids, checked as SentencePiece checks them.

use std::collections::HashMap;

use super::damaged;
use super::proto::{Piece, PieceType, TrainerSpec};
use super::symbols::Symbols;
use crate::error::Result;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text.
    Normal,
    /// Stands for text that the vocabulary lacks.
    Unknown,
    /// Never text: `<s>`, `</s>`.
    Control,
    /// Text that is always one token.
    UserDefined,
    /// Text that is cut further.
    Unused,
    /// One byte.
    Byte(u8),
}

/// The pieces of a model.
#[derive(Debug)]
pub(super) struct Vocabulary {
    pieces: Vec<(String, f32, Kind)>,
    /// Pieces that text can become: normal, user-defined, unused.
    text: HashMap<String, u32>,
    /// The others. SentencePiece looks here first.
    reserved: HashMap<String, u32>,
    user_defined: Symbols,
    /// The ids of all bytes, where the model falls back to bytes.
    bytes: Option<Box<[u32; 256]>>,
    unk: u32,
    unk_surface: String,
    longest: usize,
}

impl Vocabulary {
    pub(super) fn new(pieces: Vec<Piece>, trainer: &TrainerSpec) -> Result<Self> {
        let mut out = Vocabulary {
            pieces: Vec::with_capacity(pieces.len()),
            text: HashMap::with_capacity(pieces.len()),
            reserved: HashMap::new(),
            user_defined: Symbols::default(),
            bytes: None,
            unk: 0,
            unk_surface: trainer.unk_surface().to_owned(),
            longest: 0,
        };
        let (mut unk, mut bytes) = (None, [None; 256]);
        for (piece, id) in pieces.into_iter().zip(0..) {
            let kind = kind_of(&piece, id)?;
            let text = piece.piece.unwrap_or_default();
            match kind {
                Kind::Unknown if unk.replace(id).is_some() => {
                    return Err(damaged("two unknown pieces"));
                }
                Kind::Byte(_) if !trainer.byte_fallback() => {
                    return Err(damaged(format!("piece {text:?} without byte_fallback")));
                }
                Kind::Byte(byte) => bytes[usize::from(byte)] = Some(id),
                Kind::UserDefined => out.user_defined.insert(&text),
                Kind::Normal | Kind::Unused | Kind::Control | Kind::Unknown => {}
            }
            let is_text = matches!(kind, Kind::Normal | Kind::UserDefined | Kind::Unused);
            let map = if is_text { &mut out.text } else { &mut out.reserved };
            if text.is_empty() || map.insert(text.clone(), id).is_some() {
                return Err(damaged(format!("piece {id}, {text:?}, is empty or there twice")));
            }
            let score = piece.score.unwrap_or_default();
            if score.is_nan() {
                return Err(damaged(format!(
                    "piece {id}, {text:?}, has a score that is no number"
                )));
            }
            out.longest = out.longest.max(text.len());
            out.pieces.push((text, score, kind));
        }
        out.unk = unk.ok_or_else(|| damaged("no unknown piece"))?;
        if trainer.byte_fallback() {
            let mut ids = Box::new([0; 256]);
            for (byte, (to, id)) in ids.iter_mut().zip(bytes).enumerate() {
                *to = id.ok_or_else(|| damaged(format!("no piece <0x{byte:02X}>")))?;
            }
            out.bytes = Some(ids);
        }
        Ok(out)
    }

    pub(super) fn len(&self) -> usize {
        self.pieces.len()
    }

    pub(super) fn piece(&self, id: u32) -> Option<&str> {
        self.pieces.get(id as usize).map(|(piece, ..)| piece.as_str())
    }

    pub(super) fn kind(&self, id: u32) -> Option<Kind> {
        self.pieces.get(id as usize).map(|(.., kind)| *kind)
    }

    pub(super) fn score(&self, id: u32) -> f32 {
        self.pieces.get(id as usize).map_or(0.0, |(_, score, _)| *score)
    }

    /// The id of a piece of any kind.
    pub(super) fn id(&self, piece: &str) -> Option<u32> {
        self.reserved.get(piece).or_else(|| self.text.get(piece)).copied()
    }

    /// The id of a piece that text can become by merging.
    pub(super) fn merged_id(&self, piece: &str) -> Option<u32> {
        if piece.len() > self.longest {
            return None;
        }
        self.text.get(piece).copied()
    }

    pub(super) fn user_defined(&self) -> &Symbols {
        &self.user_defined
    }

    pub(super) fn bytes(&self) -> Option<&[u32; 256]> {
        self.bytes.as_deref()
    }

    pub(super) fn unk(&self) -> u32 {
        self.unk
    }

    /// What the unknown piece is decoded to.
    pub(super) fn unk_surface(&self) -> &str {
        &self.unk_surface
    }
}

fn kind_of(piece: &Piece, id: u32) -> Result<Kind> {
    let number = piece.r#type.unwrap_or(PieceType::Normal as i32);
    Ok(match PieceType::try_from(number) {
        Ok(PieceType::Normal) => Kind::Normal,
        Ok(PieceType::Unknown) => Kind::Unknown,
        Ok(PieceType::Control) => Kind::Control,
        Ok(PieceType::UserDefined) => Kind::UserDefined,
        Ok(PieceType::Unused) => Kind::Unused,
        Ok(PieceType::Byte) => {
            let text = piece.piece.as_deref().unwrap_or_default();
            Kind::Byte(byte_of(text).ok_or_else(|| damaged(format!("byte piece {text:?}")))?)
        }
        Err(_) => return Err(damaged(format!("piece {id} is of type {number}"))),
    })
}

/// The byte of a piece such as `<0x0A>`.
fn byte_of(piece: &str) -> Option<u8> {
    let digits = piece.strip_prefix("<0x")?.strip_suffix('>')?;
    let upper = |c: char| c.is_ascii_digit() || ('A'..='F').contains(&c);
    (digits.len() == 2 && digits.chars().all(upper))
        .then(|| u8::from_str_radix(digits, 16).ok())
        .flatten()
}
