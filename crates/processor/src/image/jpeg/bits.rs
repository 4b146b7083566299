//! Bits of coded data.

use super::{damaged, truncated};
use crate::error::Result;

/// Reads bits up to the next marker. `ff 00` stands for the byte `ff`.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    /// The next bits, the first one highest; zeros after the last.
    buffer: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Bits { data, at: 0, buffer: 0, count: 0 }
    }

    fn fill(&mut self) {
        while self.count <= 56 {
            let byte = match self.data.get(self.at..) {
                Some([0xff, 0x00, ..]) => {
                    self.at += 2;
                    0xff
                }
                Some([0xff, ..]) | Some([]) | None => return,
                Some([byte, ..]) => {
                    self.at += 1;
                    *byte
                }
            };
            self.buffer |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    /// The next 16 bits, zeros after the last.
    pub(super) fn peek16(&mut self) -> u32 {
        if self.count < 16 {
            self.fill();
        }
        (self.buffer >> 48) as u32
    }

    /// Goes past `count` bits, at most 16.
    pub(super) fn consume(&mut self, count: u32) -> Result<()> {
        if count > self.count {
            self.fill();
            if count > self.count {
                return Err(self.ended());
            }
        }
        self.buffer <<= count;
        self.count -= count;
        Ok(())
    }

    /// The next `count` bits as a number, at most 16.
    pub(super) fn get(&mut self, count: u32) -> Result<u32> {
        if count == 0 {
            return Ok(0);
        }
        let value = self.peek16() >> (16 - count);
        self.consume(count)?;
        Ok(value)
    }

    /// The next bit.
    pub(super) fn bit(&mut self) -> Result<bool> {
        Ok(self.get(1)? == 1)
    }

    /// The next `count` bits as a signed difference (figure F.12, EXTEND).
    pub(super) fn signed(&mut self, count: u32) -> Result<i32> {
        if count == 0 {
            return Ok(0);
        }
        let value = self.get(count)? as i32;
        let half = 1 << (count - 1);
        Ok(if value < half { value - 2 * half + 1 } else { value })
    }

    /// Goes past the restart marker of this number.
    pub(super) fn restart(&mut self, number: u8) -> Result<()> {
        (self.buffer, self.count) = (0, 0);
        let rest = self.data.get(self.at..).unwrap_or_default();
        let fill = rest.iter().take_while(|&&byte| byte == 0xff).count();
        match rest.get(fill) {
            Some(&marker) if fill > 0 && marker == 0xd0 + number => {
                self.at += fill + 1;
                Ok(())
            }
            None => Err(truncated("it ends within a scan")),
            Some(_) => Err(damaged(format!("restart marker {number} is missing"))),
        }
    }

    /// Bytes up to the marker after the data.
    pub(super) fn position(&self) -> usize {
        let rest = self.data.get(self.at..).unwrap_or_default();
        let marker = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0x00 | 0xff);
        self.at + rest.windows(2).position(marker).unwrap_or(rest.len())
    }

    fn ended(&self) -> crate::error::Error {
        match self.data.get(self.at..) {
            Some([0xff, marker, ..]) => {
                damaged(format!("a scan ends early, at marker ff{marker:02x}"))
            }
            _ => truncated("it ends within a scan"),
        }
    }
}
