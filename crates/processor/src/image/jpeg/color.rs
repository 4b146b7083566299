//! Colour spaces: which one a file has, and RGB from it as libjpeg and PIL compute it.

use super::damaged;
use super::frame::{Component, Frame};
use super::upsample::{self, Factors};
use crate::error::Result;

/// What the channels mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Space {
    Gray,
    Rgb,
    YCbCr,
    /// Inverted, as Adobe writes it and PIL assumes.
    Cmyk,
    /// CMYK whose first three channels are YCbCr.
    Ycck,
}

/// What application segments say of the colour space.
#[derive(Debug, Default)]
pub(super) struct Hints {
    jfif: bool,
    adobe_transform: Option<u8>,
}

impl Hints {
    pub(super) fn read(&mut self, number: u8, data: &[u8]) {
        match (number, data) {
            (0, [b'J', b'F', b'I', b'F', 0, ..]) if data.len() >= 14 => self.jfif = true,
            (14, [b'A', b'd', b'o', b'b', b'e', ..]) if data.len() >= 12 => {
                self.adobe_transform = data.get(11).copied();
            }
            _ => {}
        }
    }

    /// The colour space, by the rules of libjpeg's `default_decompress_parms`.
    pub(super) fn space(&self, frame: &Frame) -> Result<Space> {
        let ids: Vec<u8> = frame.components.iter().map(|component| component.id).collect();
        Ok(match (ids.len(), self.adobe_transform) {
            (1, _) => Space::Gray,
            (3, _) if self.jfif => Space::YCbCr,
            (3, Some(0)) => Space::Rgb,
            (3, Some(_)) => Space::YCbCr,
            (3, None) if ids == *b"RGB" => Space::Rgb,
            (3, None) => Space::YCbCr,
            (4, None | Some(0)) => Space::Cmyk,
            (4, Some(_)) => Space::Ycck,
            (count, _) => return Err(damaged(format!("{count} components"))),
        })
    }
}

/// The image's pixels, three bytes each.
pub(super) fn to_rgb(
    components: Vec<Component>,
    width: usize,
    height: usize,
    space: Space,
) -> Vec<u8> {
    let max_h = components.iter().map(|component| component.h).max().unwrap_or(1);
    let max_v = components.iter().map(|component| component.v).max().unwrap_or(1);
    let mut rows = vec![Vec::with_capacity(width + 8); components.len()];
    let mut sums = Vec::new();
    let mut out = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        for (component, row) in components.iter().zip(&mut rows) {
            let factors =
                Factors { horizontal: max_h / component.h, vertical: max_v / component.v };
            upsample::row(component, factors, y, &mut sums, row);
        }
        match &rows[..] {
            [gray] => out.extend(gray.iter().take(width).flat_map(|&value| [value; 3])),
            [a, b, c] => {
                let pixels = a.iter().zip(b).zip(c).take(width);
                out.extend(pixels.flat_map(|((&a, &b), &c)| match space {
                    Space::YCbCr => ycc_to_rgb(a, b, c),
                    _ => [a, b, c],
                }));
            }
            [a, b, c, k] => {
                let pixels = a.iter().zip(b).zip(c).zip(k).take(width);
                out.extend(pixels.flat_map(|(((&a, &b), &c), &k)| {
                    let cmy = match space {
                        // libjpeg gives 255 less these, and PIL inverts every channel.
                        Space::Ycck => ycc_to_rgb(a, b, c),
                        _ => [a, b, c].map(|value| 255 - value),
                    };
                    cmyk_to_rgb(cmy, 255 - k)
                }));
            }
            _ => {}
        }
    }
    out
}

/// `x` with 16 fractional bits.
const fn fix(x: f64) -> i32 {
    (x * 65536.0 + 0.5) as i32
}

/// `jdcolor.c`.
fn ycc_to_rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let red = y + ((fix(1.40200) * cr + HALF) >> 16);
    let green = y + ((-fix(0.34414) * cb - fix(0.71414) * cr + HALF) >> 16);
    let blue = y + ((fix(1.77200) * cb + HALF) >> 16);
    [red, green, blue].map(|value| value.clamp(0, 255) as u8)
}

/// PIL's `cmyk2rgb`.
fn cmyk_to_rgb(cmy: [u8; 3], k: u8) -> [u8; 3] {
    let white = 255 - i32::from(k);
    cmy.map(|ink| {
        let product = i32::from(ink) * white + 128;
        (white - ((product + (product >> 8)) >> 8)).clamp(0, 255) as u8
    })
}
