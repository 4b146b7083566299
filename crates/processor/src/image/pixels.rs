//! What the decoders of the `image` crate have in common.

use image::error::{ImageError, LimitErrorKind};
use image::{ColorType, ImageDecoder, Limits};

use super::decode::{ImageLimits, RgbImage};
use crate::error::{Error, Result};

/// How a decoder lays out a pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// 8-bit channels, gray or colour, this many in all.
    Bytes { channels: usize, color: bool },
    /// 16-bit channels of the machine's byte order, of which the high byte is kept.
    Words { channels: usize, color: bool },
    /// 16-bit gray, clipped to 255.
    GrayClipped,
    /// The same with alpha.
    GrayAlphaClipped,
}

impl Layout {
    pub(super) fn of(color: ColorType) -> Option<Layout> {
        Some(match color {
            ColorType::L8 => Layout::Bytes { channels: 1, color: false },
            ColorType::La8 => Layout::Bytes { channels: 2, color: false },
            ColorType::Rgb8 => Layout::Bytes { channels: 3, color: true },
            ColorType::Rgba8 => Layout::Bytes { channels: 4, color: true },
            ColorType::L16 => Layout::Words { channels: 1, color: false },
            ColorType::La16 => Layout::Words { channels: 2, color: false },
            ColorType::Rgb16 => Layout::Words { channels: 3, color: true },
            ColorType::Rgba16 => Layout::Words { channels: 4, color: true },
            _ => return None,
        })
    }

    /// Three bytes for each pixel of `data`.
    fn to_rgb(self, data: Vec<u8>) -> Vec<u8> {
        let high = |word: &[u8]| (u16::from_ne_bytes([word[0], word[1]]) >> 8) as u8;
        let clipped = |word: &[u8]| u16::from_ne_bytes([word[0], word[1]]).min(255) as u8;
        match self {
            Layout::Bytes { channels: 3, color: true } => data,
            Layout::Bytes { channels, color: true } => {
                data.chunks_exact(channels).flat_map(|p| [p[0], p[1], p[2]]).collect()
            }
            Layout::Bytes { channels, color: false } => {
                data.chunks_exact(channels).flat_map(|p| [p[0]; 3]).collect()
            }
            Layout::Words { channels, color: true } => data
                .chunks_exact(channels * 2)
                .flat_map(|p| [high(p), high(&p[2..]), high(&p[4..])])
                .collect(),
            Layout::Words { channels, color: false } => {
                data.chunks_exact(channels * 2).flat_map(|p| [high(p); 3]).collect()
            }
            Layout::GrayClipped => data.chunks_exact(2).flat_map(|p| [clipped(p); 3]).collect(),
            Layout::GrayAlphaClipped => {
                data.chunks_exact(4).flat_map(|p| [clipped(p); 3]).collect()
            }
        }
    }
}

/// Checks the size against the limits, then decodes.
pub(super) fn read(
    format: &'static str,
    mut decoder: impl ImageDecoder,
    layout: Layout,
    limits: &ImageLimits,
) -> Result<RgbImage> {
    let (width, height) = decoder.dimensions();
    limits.check_pixels(width.into(), height.into())?;
    let total = decoder.total_bytes();
    let mut memory = Limits::no_limits();
    memory.max_alloc = Some(total.saturating_mul(2).saturating_add(DECODER_BYTES));
    decoder.set_limits(memory).map_err(|e| error(format, e))?;
    let mut data = vec![0u8; total as usize];
    decoder.read_image(&mut data).map_err(|e| error(format, e))?;
    image(format, width as usize, height as usize, layout.to_rgb(data))
}

/// An image of decoded pixels, or an error where there are none.
pub(super) fn image(
    format: &'static str,
    width: usize,
    height: usize,
    pixels: Vec<u8>,
) -> Result<RgbImage> {
    RgbImage::new(width, height, pixels)
        .ok_or_else(|| Error::DamagedImage { format, detail: format!("{width} x {height} pixels") })
}

/// Memory that a decoder may take beside the pixels: tables, a window, text chunks.
const DECODER_BYTES: u64 = 64 << 20;

/// Sorts a decoder's error by who must act.
pub(super) fn error(format: &'static str, error: ImageError) -> Error {
    let detail = error.to_string();
    match error {
        ImageError::Unsupported(_) => Error::UnsupportedImage { format, detail },
        ImageError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            Error::TruncatedImage { format, detail }
        }
        ImageError::Limits(ref limit)
            if matches!(limit.kind(), LimitErrorKind::InsufficientMemory) =>
        {
            Error::UnsupportedImage { format, detail }
        }
        _ => Error::DamagedImage { format, detail },
    }
}
