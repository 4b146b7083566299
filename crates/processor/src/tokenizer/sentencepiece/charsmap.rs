//! A precompiled map from texts to their normal forms: a Darts double array, then the normal forms,
//! each ended by a zero byte.

use super::damaged;
use crate::error::Result;

/// The map.
#[derive(Debug)]
pub(super) struct Charsmap {
    units: Vec<u32>,
    normal: String,
}

impl Charsmap {
    pub(super) fn new(bytes: &[u8]) -> Result<Self> {
        let broken = || damaged("its precompiled_charsmap is cut or damaged");
        let (len, rest) = bytes.split_first_chunk::<4>().ok_or_else(broken)?;
        let len = u32::from_le_bytes(*len) as usize;
        let (trie, normal) = rest.split_at_checked(len).ok_or_else(broken)?;
        let units = trie.as_chunks::<4>().0.iter().map(|unit| u32::from_le_bytes(*unit)).collect();
        let normal = std::str::from_utf8(normal).map_err(|_| broken())?.to_owned();
        Ok(Charsmap { units, normal })
    }

    /// The normal form of the longest beginning of `text` that the map has, and the length of that
    /// beginning, never 0.
    pub(super) fn longest_prefix(&self, text: &str) -> Option<(&str, usize)> {
        let mut unit = *self.units.first()?;
        let mut at = offset(unit);
        let mut found = None;
        for (index, byte) in text.bytes().enumerate() {
            at ^= usize::from(byte);
            unit = match self.units.get(at) {
                Some(&unit) if label(unit) == u32::from(byte) => unit,
                _ => break,
            };
            at ^= offset(unit);
            if has_leaf(unit) {
                let value = *self.units.get(at)? & 0x7fff_ffff;
                found = Some((value as usize, index + 1));
            }
        }
        let (value, len) = found.filter(|(_, len)| text.is_char_boundary(*len))?;
        let normal = self.normal.get(value..)?;
        Some((normal.split('\0').next().unwrap_or_default(), len))
    }
}

fn has_leaf(unit: u32) -> bool {
    unit >> 8 & 1 == 1
}

fn label(unit: u32) -> u32 {
    unit & (1 << 31 | 0xff)
}

fn offset(unit: u32) -> usize {
    ((unit >> 10) << ((unit & 1 << 9) >> 6)) as usize
}
