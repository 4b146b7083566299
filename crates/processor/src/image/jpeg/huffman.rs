//! Huffman codes.

use super::bits::Bits;
use super::damaged;
use crate::error::Result;

/// Codes up to this length are found by one look.
const FAST: u32 = 9;

/// A Huffman table.
#[derive(Clone)]
pub(super) struct Huffman {
    /// Length and value by the next 9 bits; length 0 where the code is longer.
    fast: [(u8, u8); 1 << FAST],
    /// For each length: the first code that is too large for it, and what is added to a code to
    /// find its value.
    by_length: [(i32, i32); 17],
    values: Vec<u8>,
}

impl Huffman {
    /// A table of `counts[n]` codes of `n + 1` bits (annex C).
    pub(super) fn new(counts: &[u8; 16], values: &[u8]) -> Result<Self> {
        let mut table =
            Huffman { fast: [(0, 0); 1 << FAST], by_length: [(0, 0); 17], values: values.to_vec() };
        let (mut code, mut index) = (0i32, 0i32);
        for (length, &count) in (1u32..).zip(counts) {
            let count = i32::from(count);
            if code + count > 1 << length {
                return Err(damaged("more Huffman codes than fit"));
            }
            table.by_length[length as usize] = (code + count, index - code);
            if length <= FAST {
                let spread = 1usize << (FAST - length);
                for (offset, &value) in (0..count).zip(values.iter().skip(index as usize)) {
                    let first = (code + offset) as usize * spread;
                    table.fast[first..first + spread].fill((length as u8, value));
                }
            }
            index += count;
            code = (code + count) << 1;
        }
        Ok(table)
    }

    /// Reads one code and gives its value.
    pub(super) fn decode(&self, bits: &mut Bits<'_>) -> Result<u8> {
        let next = bits.peek16();
        let (length, value) = self.fast[(next >> (16 - FAST)) as usize];
        if length > 0 {
            bits.consume(length.into())?;
            return Ok(value);
        }
        for length in FAST + 1..=16 {
            let code = (next >> (16 - length)) as i32;
            let (end, offset) = self.by_length[length as usize];
            if code < end {
                bits.consume(length)?;
                let value = usize::try_from(code + offset).ok().and_then(|i| self.values.get(i));
                return value.copied().ok_or_else(|| damaged("a Huffman code without a value"));
            }
        }
        // Zeros after the end may be no code.
        bits.consume(16)?;
        Err(damaged("bits that are no Huffman code"))
    }
}
