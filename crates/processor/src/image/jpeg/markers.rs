//! Marker segments.

use super::{damaged, truncated, unsupported};
use crate::error::Result;

/// A segment, without its marker and length.
pub(super) enum Segment<'a> {
    /// DQT.
    Quantization(&'a [u8]),
    /// DHT.
    Huffman(&'a [u8]),
    /// DRI.
    RestartInterval(&'a [u8]),
    /// APP0 to APP15.
    App(u8, &'a [u8]),
    /// SOF0, SOF1, SOF2.
    Frame {
        /// SOF2.
        progressive: bool,
        /// The frame header.
        data: &'a [u8],
    },
    /// SOS; the coded data follows.
    Scan(&'a [u8]),
    /// Comments and the like.
    Other,
    /// EOI.
    End,
}

/// A file, read from its beginning to `EOI`.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        // SOI was looked at to tell the format.
        Reader { rest: bytes.get(2..).unwrap_or_default() }
    }

    /// What follows the last segment.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Goes past coded data.
    pub(super) fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    pub(super) fn next_segment(&mut self) -> Result<Segment<'a>> {
        let marker = self.next_marker()?;
        // RST0 to RST7 and TEM stand alone.
        if matches!(marker, 0xd0..=0xd7 | 0x01) {
            return Ok(Segment::Other);
        }
        match marker {
            0xd9 => return Ok(Segment::End),
            0xd8 => return Err(damaged("a second SOI")),
            _ => {}
        }
        let data = self.data(marker)?;
        Ok(match marker {
            0xdb => Segment::Quantization(data),
            0xc4 => Segment::Huffman(data),
            0xdd => Segment::RestartInterval(data),
            0xda => Segment::Scan(data),
            0xe0..=0xef => Segment::App(marker - 0xe0, data),
            0xc0..=0xc2 => Segment::Frame { progressive: marker == 0xc2, data },
            0xc3 => return Err(unsupported("lossless")),
            0xc9..=0xcb | 0xcd..=0xcf => return Err(unsupported("arithmetic coding")),
            0xc5..=0xc7 => return Err(unsupported("hierarchical")),
            _ => Segment::Other,
        })
    }

    /// The next marker. Bytes before it that belong to nothing are skipped, as libjpeg does.
    fn next_marker(&mut self) -> Result<u8> {
        loop {
            let at = self.rest.windows(2).position(|pair| pair[0] == 0xff && pair[1] != 0xff);
            let at = at.ok_or_else(|| truncated("no EOI marker"))?;
            let marker = self.rest.get(at + 1).copied().unwrap_or_default();
            self.skip(at + 2);
            if marker != 0 {
                return Ok(marker);
            }
        }
    }

    fn data(&mut self, marker: u8) -> Result<&'a [u8]> {
        let cut = || truncated(format!("the segment of marker ff{marker:02x} is cut"));
        let (length, after) = self.rest.split_first_chunk::<2>().ok_or_else(cut)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let length =
            length.checked_sub(2).ok_or_else(|| damaged("a segment of less than 2 bytes"))?;
        let (data, rest) = after.split_at_checked(length).ok_or_else(cut)?;
        self.rest = rest;
        Ok(data)
    }
}
