//! GIF: the first frame, as PIL shows it.

use std::num::NonZeroU64;

use gif::{ColorOutput, DecodeOptions, DecodingError, MemoryLimit};

use super::decode::{ImageLimits, RgbImage};
use super::pixels;
use crate::error::{Error, Result};

const FORMAT: &str = "GIF";
/// Memory that the decoder may take beside the frame's pixels.
const DECODER_BYTES: u64 = 16 << 20;

pub(super) fn decode(bytes: &[u8], limits: &ImageLimits) -> Result<RgbImage> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    let memory = limits.max_pixels.saturating_add(DECODER_BYTES);
    options.set_memory_limit(
        NonZeroU64::new(memory).map_or(MemoryLimit::Unlimited, MemoryLimit::Bytes),
    );
    let mut decoder = options.read_info(bytes).map_err(error)?;
    let screen = (usize::from(decoder.width()), usize::from(decoder.height()));
    let frame = decoder.next_frame_info().map_err(error)?;
    let frame = frame.ok_or_else(|| damaged("no frame"))?;
    let (left, top) = (usize::from(frame.left), usize::from(frame.top));
    let (columns, rows) = (usize::from(frame.width), usize::from(frame.height));
    // PIL enlarges the screen where the frame does not fit.
    let (width, height) = (screen.0.max(left + columns), screen.1.max(top + rows));
    limits.check_pixels(width as u64, height as u64)?;
    let transparent = frame.transparent.unwrap_or(0);
    let mut indices = vec![0; columns * rows];
    decoder.read_into_buffer(&mut indices).map_err(error)?;
    let palette = decoder.palette().map_err(error)?.to_vec();
    let color = |index: u8| -> [u8; 3] {
        palette.as_chunks::<3>().0.get(usize::from(index)).copied().unwrap_or_default()
    };
    // What the frame does not cover has the transparent colour, or the first.
    let mut out = color(transparent).repeat(width * height);
    for (y, line) in indices.chunks_exact(columns.max(1)).enumerate() {
        let start = ((top + y) * width + left) * 3;
        let target = out.get_mut(start..start + columns * 3).unwrap_or_default();
        for (pixel, &index) in target.as_chunks_mut::<3>().0.iter_mut().zip(line) {
            *pixel = color(index);
        }
    }
    pixels::image(FORMAT, width, height, out)
}

fn damaged(detail: impl Into<String>) -> Error {
    Error::DamagedImage { format: FORMAT, detail: detail.into() }
}

fn error(error: DecodingError) -> Error {
    let detail = error.to_string();
    match error {
        DecodingError::Io(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            Error::TruncatedImage { format: FORMAT, detail }
        }
        _ => damaged(detail),
    }
}
