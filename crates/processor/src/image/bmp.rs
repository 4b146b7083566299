//! BMP.

use std::io::Cursor;

use image::ImageDecoder;
use image::codecs::bmp::BmpDecoder;

use super::decode::{ImageLimits, RgbImage};
use super::pixels::{self, Layout};
use crate::error::{Error, Result};

const FORMAT: &str = "BMP";

pub(super) fn decode(bytes: &[u8], limits: &ImageLimits) -> Result<RgbImage> {
    let decoder = BmpDecoder::new(Cursor::new(bytes)).map_err(|e| pixels::error(FORMAT, e))?;
    let color = decoder.color_type();
    let layout = Layout::of(color)
        .ok_or_else(|| Error::UnsupportedImage { format: FORMAT, detail: format!("{color:?}") })?;
    let image = pixels::read(FORMAT, decoder, layout, limits)?;
    Ok(match sixteen_bits(bytes) {
        Some(maxima) => image.map(|channel, value| cut_level(value, maxima[channel])),
        None => image,
    })
}

/// The largest level of each channel, where the header says 16 bits a pixel.
fn sixteen_bits(bytes: &[u8]) -> Option<[u32; 3]> {
    let u32_at = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk::<4>()?));
    const INFO_HEADER: u32 = 40;
    const BITFIELDS: u32 = 3;
    if u32_at(14)? < INFO_HEADER || bytes.get(28..30)? != [16, 0] {
        return None;
    }
    let six = u32_at(30)? == BITFIELDS && u32_at(58)? == 0x7e0;
    Some([31, if six { 63 } else { 31 }, 31])
}

/// The decoder rounds `level * 255 / maximum`, PIL cuts it.
fn cut_level(value: u8, maximum: u32) -> u8 {
    let level = (u32::from(value) * maximum + 127) / 255;
    (level * 255 / maximum) as u8
}
