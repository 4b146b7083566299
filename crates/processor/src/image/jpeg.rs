//! JPEG: sequential and progressive, Huffman-coded, 8 bits, decoded as libjpeg-turbo does with the
//! settings that PIL uses: the accurate integer inverse DCT ("islow"), "fancy" chroma upsampling
//! and 16-bit fixed-point colour conversion. Equal to PIL's pixels.
//!
//! Unlike libjpeg, which fills what is missing with gray, a file that ends early is an error.
//! ITU-T T.81 is the format's specification; figures and tables named here are its.

mod bits;
mod color;
mod frame;
mod huffman;
mod idct;
mod markers;
mod scan;
mod upsample;

use super::decode::{ImageLimits, RgbImage};
use super::pixels;
use crate::error::{Error, Result};
use markers::{Reader, Segment};

const FORMAT: &str = "JPEG";
/// The most scans of a progressive file; encoders write about 10.
const MAX_SCANS: usize = 200;

fn damaged(detail: impl Into<String>) -> Error {
    Error::DamagedImage { format: FORMAT, detail: detail.into() }
}

fn truncated(detail: impl Into<String>) -> Error {
    Error::TruncatedImage { format: FORMAT, detail: detail.into() }
}

fn unsupported(detail: impl Into<String>) -> Error {
    Error::UnsupportedImage { format: FORMAT, detail: detail.into() }
}

pub(super) fn decode(bytes: &[u8], limits: &ImageLimits) -> Result<RgbImage> {
    let mut reader = Reader::new(bytes);
    let mut tables = scan::Tables::default();
    let mut hints = color::Hints::default();
    let mut frame: Option<frame::Frame> = None;
    let mut scans = 0;
    loop {
        match reader.next_segment()? {
            Segment::Quantization(data) => tables.read_quantization(data)?,
            Segment::Huffman(data) => tables.read_huffman(data)?,
            Segment::RestartInterval(data) => tables.read_restart_interval(data)?,
            Segment::App(number, data) => hints.read(number, data),
            Segment::Frame { progressive, data } => {
                if frame.is_some() {
                    return Err(damaged("two frames"));
                }
                frame = Some(frame::Frame::new(data, progressive, limits)?);
            }
            Segment::Scan(data) => {
                let frame = frame.as_mut().ok_or_else(|| damaged("a scan before the frame"))?;
                scans += 1;
                if scans > MAX_SCANS {
                    return Err(unsupported(format!("more than {MAX_SCANS} scans")));
                }
                let used = scan::decode(frame, &tables, data, reader.rest())?;
                reader.skip(used);
            }
            Segment::Other => {}
            Segment::End => break,
        }
    }
    let frame = frame.ok_or_else(|| damaged("no frame"))?;
    let (width, height) = (frame.width, frame.height);
    let space = hints.space(&frame)?;
    pixels::image(FORMAT, width, height, color::to_rgb(frame.finish()?, width, height, space))
}
