//! PNG.

use std::io::Cursor;
use std::ops::Range;

use image::codecs::png::PngDecoder;
use image::{ColorType, ImageDecoder};

use super::decode::{ImageLimits, RgbImage};
use super::pixels::{self, Layout};
use crate::error::{Error, Result};

const FORMAT: &str = "PNG";
/// Bytes before the first chunk.
const SIGNATURE: usize = 8;
/// Where the header has width and height.
const SIZE: Range<usize> = 16..24;
/// Where the header has the bits of a channel and the colour type; 0 is gray.
const DEPTH_AND_COLOR: Range<usize> = 24..26;

pub(super) fn decode(bytes: &[u8], limits: &ImageLimits) -> Result<RgbImage> {
    // Before anything else, so that a huge image is called that and not truncated.
    if let Some([w3, w2, w1, w0, h3, h2, h1, h0]) = bytes.get(SIZE) {
        let (width, height) = ([*w3, *w2, *w1, *w0], [*h3, *h2, *h1, *h0]);
        limits.check_pixels(u32::from_be_bytes(width).into(), u32::from_be_bytes(height).into())?;
    }
    check_complete(bytes)?;
    let decoder = PngDecoder::new(Cursor::new(bytes)).map_err(|e| pixels::error(FORMAT, e))?;
    let gray_16 = bytes.get(DEPTH_AND_COLOR) == Some(&[16, 0][..]);
    let layout = match decoder.color_type() {
        // PIL's mode I;16 becomes 8 bits by clipping, every other 16-bit mode by its high byte.
        ColorType::L16 if gray_16 => Layout::GrayClipped,
        ColorType::La16 if gray_16 => Layout::GrayAlphaClipped,
        color => Layout::of(color).ok_or_else(|| Error::UnsupportedImage {
            format: FORMAT,
            detail: format!("{color:?}"),
        })?,
    };
    pixels::read(FORMAT, decoder, layout, limits)
}

/// Refuses a file whose chunks do not reach `IEND`.
fn check_complete(bytes: &[u8]) -> Result<()> {
    let truncated = |detail| Error::TruncatedImage { format: FORMAT, detail };
    let mut rest = bytes.get(SIGNATURE..).unwrap_or_default();
    loop {
        let Some((&[a, b, c, d, ref kind @ ..], after)) = rest.split_first_chunk::<8>() else {
            return Err(truncated("no IEND chunk".into()));
        };
        // The data and its checksum follow.
        let length = u32::from_be_bytes([a, b, c, d]) as usize + 4;
        let Some(next) = after.get(length..) else {
            return Err(truncated(format!(
                "chunk {} needs {length} bytes, the file has {}",
                kind.escape_ascii(),
                after.len()
            )));
        };
        if kind == b"IEND" {
            return Ok(());
        }
        rest = next;
    }
}
