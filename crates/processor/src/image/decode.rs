//! From the bytes of an image file to RGB pixels, as PIL's `convert("RGB")` gives them.

use std::path::Path;

use super::{bmp, file, gif, jpeg, png, webp};
use crate::error::{Error, Result};

/// The most pixels in a row or column: what JPEG allows, and more than any camera gives.
const MAX_EDGE: u64 = 65_535;

/// How large an image may be. Both limits are checked before memory is taken for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageLimits {
    /// The most bytes that are read of a file, by default 64 MiB.
    pub max_bytes: u64,
    /// The most pixels (width times height) that are decoded, by default 100 million. An edge of
    /// more than 65,535 pixels is refused whatever this is.
    pub max_pixels: u64,
}

impl Default for ImageLimits {
    fn default() -> Self {
        ImageLimits { max_bytes: 64 << 20, max_pixels: 100_000_000 }
    }
}

impl ImageLimits {
    /// Refuses the size that an image's header promises.
    pub(super) fn check_pixels(&self, width: u64, height: u64) -> Result<()> {
        let within = width <= MAX_EDGE && height <= MAX_EDGE && width * height <= self.max_pixels;
        if within {
            return Ok(());
        }
        Err(Error::TooManyPixels { width, height, limit: self.max_pixels, edge: MAX_EDGE })
    }
}

/// An image of at least one pixel, 8 bits a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RgbImage {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl RgbImage {
    /// An image of `width x height` pixels, rows from top to bottom, three bytes a pixel: red,
    /// green, blue. `None` where there is no pixel or `pixels` is not `width * height * 3` bytes.
    pub fn new(width: usize, height: usize, pixels: Vec<u8>) -> Option<Self> {
        let bytes = width.checked_mul(height)?.checked_mul(3)?;
        (bytes > 0 && bytes == pixels.len()).then_some(RgbImage { width, height, pixels })
    }

    /// Pixels in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Rows from top to bottom, three bytes a pixel: red, green, blue.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The image with `change(channel, value)` in place of every value.
    pub(super) fn map(mut self, change: impl Fn(usize, u8) -> u8) -> Self {
        for pixel in self.pixels.as_chunks_mut::<3>().0 {
            *pixel = std::array::from_fn(|channel| change(channel, pixel[channel]));
        }
        self
    }

    /// Row `y` from the top, `width * 3` bytes; none outside the image.
    pub fn row(&self, y: usize) -> Option<&[u8]> {
        self.pixels.chunks_exact(self.width * 3).nth(y)
    }
}

/// Reads and decodes an image file; see [`decode_image`].
///
/// # Errors
/// As [`decode_image`], and where the file cannot be read, is no regular file or is larger than
/// `limits.max_bytes`; the path is named.
pub fn load_image(path: &Path, limits: &ImageLimits) -> Result<RgbImage> {
    file::read(path, limits.max_bytes)
        .and_then(|bytes| decode_image(&bytes, limits))
        .map_err(Error::of(path))
}

/// Decodes an image that was read from somewhere else than a file; see [`decode_image`].
///
/// # Errors
/// As [`decode_image`]; `name` is named.
pub fn decode_named_image(name: &Path, bytes: &[u8], limits: &ImageLimits) -> Result<RgbImage> {
    decode_image(bytes, limits).map_err(Error::of(name))
}

/// Decodes an image: PNG, JPEG, WebP, BMP or the first frame of a GIF, told apart by content.
///
/// Gives what PIL's `Image.open(..).convert("RGB")` gives: alpha is dropped (not blended), gray is
/// repeated, palettes are looked up, 16-bit gray is clipped to 255, 16-bit colour keeps its high
/// byte, an EXIF orientation is not applied.
///
/// # Errors
/// Where the bytes are no image of these formats, more than `limits` allow, cut short or damaged.
pub fn decode_image(bytes: &[u8], limits: &ImageLimits) -> Result<RgbImage> {
    let size = bytes.len() as u64;
    if size > limits.max_bytes {
        return Err(Error::TooManyBytes { bytes: size, limit: limits.max_bytes });
    }
    match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => png::decode(bytes, limits),
        [0xff, 0xd8, 0xff, ..] => jpeg::decode(bytes, limits),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => {
            webp::decode(bytes, limits)
        }
        [b'B', b'M', ..] => bmp::decode(bytes, limits),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => gif::decode(bytes, limits),
        _ => Err(Error::UnknownImage),
    }
}
