//! JPEG.

use std::io::Cursor;

use image::ImageDecoder;
use image::codecs::jpeg::JpegDecoder;

use super::decode::{ImageLimits, RgbImage};
use super::pixels::{self, Layout};
use crate::error::{Error, Result};

const FORMAT: &str = "JPEG";

pub(super) fn decode(bytes: &[u8], limits: &ImageLimits) -> Result<RgbImage> {
    let decoder = JpegDecoder::new(Cursor::new(bytes)).map_err(|e| pixels::error(FORMAT, e))?;
    let color = decoder.color_type();
    let layout = Layout::of(color)
        .ok_or_else(|| Error::UnsupportedImage { format: FORMAT, detail: format!("{color:?}") })?;
    pixels::read(FORMAT, decoder, layout, limits)
}
