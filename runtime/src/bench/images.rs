//! An image to measure with, where none was given.

use std::io::{self, Write};
use std::path::Path;
#[cfg(target_os = "linux")]
use std::path::PathBuf;

use crate::error::Error;

/// A picture that is the same everywhere: gradients with noise over them, so that nothing about it
/// is easier than a photo for what comes behind decoding. It is an uncompressed BMP: its decoding
/// says nothing about JPEG's.
#[derive(Debug)]
pub struct SyntheticImage(Place);

/// Where the image is.
#[derive(Debug)]
enum Place {
    /// In memory: nothing is left, however the program ends.
    #[cfg(target_os = "linux")]
    Memory { path: PathBuf, _file: std::fs::File },
    /// In the folder for temporary files.
    File(tempfile::NamedTempFile),
}

impl SyntheticImage {
    /// Pixels in a row.
    pub const WIDTH: usize = 640;
    /// Rows.
    pub const HEIGHT: usize = 480;
    /// What a result calls it.
    pub const NAME: &'static str = "synthetic-640x480.bmp";

    /// Makes the image, which is gone with the value: in memory, or else as a temporary file.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn new() -> Result<Self, Error> {
        let bytes = bmp(Self::WIDTH, Self::HEIGHT);
        #[cfg(target_os = "linux")]
        if let Ok(place) = in_memory(&bytes) {
            return Ok(SyntheticImage(place));
        }
        let folder = std::env::temp_dir();
        let place = in_folder(&folder, &bytes);
        Ok(SyntheticImage(place.map_err(|source| Error::File { path: folder, source })?))
    }

    /// Where it is, for the programs that this one starts too.
    pub fn path(&self) -> &Path {
        match &self.0 {
            #[cfg(target_os = "linux")]
            Place::Memory { path, .. } => path,
            Place::File(file) => file.path(),
        }
    }
}

/// Fails where other programs cannot open it.
#[cfg(target_os = "linux")]
fn in_memory(bytes: &[u8]) -> io::Result<Place> {
    use std::os::fd::AsRawFd;
    let made = rustix::fs::memfd_create("cumo-bench", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(made);
    file.write_all(bytes)?;
    let path = PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()));
    std::fs::File::open(&path)?;
    Ok(Place::Memory { path, _file: file })
}

fn in_folder(folder: &Path, bytes: &[u8]) -> io::Result<Place> {
    let mut file =
        tempfile::Builder::new().prefix("cumo-bench-").suffix(".bmp").tempfile_in(folder)?;
    file.write_all(bytes)?;
    Ok(Place::File(file))
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

    fn is_whole(path: &Path) {
        let decoded = load_image(path, &ImageLimits::default()).unwrap();
        assert_eq!(
            (decoded.width(), decoded.height()),
            (SyntheticImage::WIDTH, SyntheticImage::HEIGHT)
        );
        let different: std::collections::BTreeSet<_> = decoded.pixels().chunks(3).collect();
        assert!(different.len() > 1_000);
    }

    #[test]
    fn it_is_an_image_of_its_size_each_time_it_is_read() {
        let image = SyntheticImage::new().unwrap();
        is_whole(image.path());
        is_whole(image.path());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn another_program_can_read_it() {
        let image = SyntheticImage::new().unwrap();
        let read = std::process::Command::new("cat").arg(image.path()).output().unwrap();
        assert!(read.stdout == bmp(SyntheticImage::WIDTH, SyntheticImage::HEIGHT));
    }

    #[test]
    fn where_it_is_a_file_that_is_gone_with_its_value() {
        let folder = tempfile::tempdir().unwrap();
        let place = in_folder(folder.path(), &bmp(SyntheticImage::WIDTH, SyntheticImage::HEIGHT));
        let image = SyntheticImage(place.unwrap());
        is_whole(image.path());
        drop(image);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn rows_of_any_width_are_padded() {
        for width in 1..9 {
            let image = cumo_processor::decode_image(&bmp(width, 3), &ImageLimits::default());
            assert_eq!(image.unwrap().width(), width);
        }
    }
}
