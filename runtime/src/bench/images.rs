//! An image to measure with, where none was given.

use std::io::Write;
use std::path::Path;

use crate::error::Error;

/// A picture that is the same everywhere: gradients with noise over them, so that nothing about it
/// is easier than a photo for what comes behind decoding. It is an uncompressed BMP: its decoding
/// says nothing about JPEG's.
#[derive(Debug)]
pub struct SyntheticImage {
    file: tempfile::NamedTempFile,
}

impl SyntheticImage {
    /// Pixels in a row.
    pub const WIDTH: usize = 640;
    /// Rows.
    pub const HEIGHT: usize = 480;
    /// What a result calls it.
    pub const NAME: &'static str = "synthetic-640x480.bmp";

    /// Makes the file, which is gone with the value.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn new() -> Result<Self, Error> {
        let folder = std::env::temp_dir();
        let failed = |source| Error::File { path: folder.clone(), source };
        let mut builder = tempfile::Builder::new();
        builder.prefix("cumo-bench-").suffix(".bmp");
        let mut file = builder.tempfile_in(&folder).map_err(failed)?;
        file.write_all(&bmp(Self::WIDTH, Self::HEIGHT)).map_err(failed)?;
        Ok(SyntheticImage { file })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.file.path()
    }
}

/// A 24-bit BMP of `width x height`, whose rows need no padding where `width` is a multiple of 4.
fn bmp(width: usize, height: usize) -> Vec<u8> {
    const HEADERS: u32 = 14 + 40;
    let row = (3 * width).next_multiple_of(4);
    let mut bytes = Vec::with_capacity(HEADERS as usize + row * height);
    bytes.extend(b"BM");
    for field in [HEADERS + (row * height) as u32, 0, HEADERS, 40, width as u32, height as u32] {
        bytes.extend(field.to_le_bytes());
    }
    // One plane of 24 bits, without compression; sizes and palette are left to the reader.
    bytes.extend([1, 0, 24, 0]);
    bytes.extend([0; 24]);
    let mut noise = 4011_u32;
    for y in 0..height {
        for x in 0..width {
            // Knuth's multiplicative generator: the same numbers on every machine.
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = (noise >> 27) as usize;
            let level = |part: usize, of: usize| (part * 223 / of.max(1) + noise) as u8;
            bytes.extend([level(x, width), level(y, height), level(x + y, width + height)]);
        }
        bytes.resize(bytes.len() + row - 3 * width, 0);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use cumo_processor::{ImageLimits, load_image};

    use super::*;

    #[test]
    fn it_is_an_image_of_its_size_and_gone_with_its_value() {
        let image = SyntheticImage::new().unwrap();
        let path = image.path().to_owned();
        let decoded = load_image(&path, &ImageLimits::default()).unwrap();
        assert_eq!(
            (decoded.width(), decoded.height()),
            (SyntheticImage::WIDTH, SyntheticImage::HEIGHT)
        );
        let different: std::collections::BTreeSet<_> = decoded.pixels().chunks(3).collect();
        assert!(different.len() > 1_000);
        drop(image);
        assert!(!path.exists());
    }

    #[test]
    fn rows_of_any_width_are_padded() {
        for width in 1..9 {
            let image = cumo_processor::decode_image(&bmp(width, 3), &ImageLimits::default());
            assert_eq!(image.unwrap().width(), width);
        }
    }
}
