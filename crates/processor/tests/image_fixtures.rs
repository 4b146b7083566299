//! Every fixture image decodes to the pixels that PIL decodes it to (`fixtures/make_images.py`).

use std::fs;
use std::path::{Path, PathBuf};

use cumo_processor::{Error, ImageLimits, RgbImage, decode_image, load_image};

/// The most that a JPEG's values may differ from PIL's. They are equal with this decoder.
const JPEG_LEVELS: u8 = 0;

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/images");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = paths.filter(|path| path.extension().unwrap() != "rgb").collect();
    paths.sort();
    paths
}

fn expected(path: &Path) -> RgbImage {
    let bytes = fs::read(format!("{}.rgb", path.display())).unwrap();
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    RgbImage::new(number(0), number(4), bytes[8..].to_vec()).unwrap()
}

#[test]
fn pixels_are_pils() {
    let fixtures = fixtures();
    assert_eq!(fixtures.len(), 52);
    for path in fixtures {
        let got = load_image(&path, &ImageLimits::default()).unwrap();
        let want = expected(&path);
        assert_eq!((got.width(), got.height()), (want.width(), want.height()), "{path:?}");
        let levels = if path.extension().unwrap() == "jpg" { JPEG_LEVELS } else { 0 };
        for (index, (&got, &want)) in got.pixels().iter().zip(want.pixels()).enumerate() {
            assert!(got.abs_diff(want) <= levels, "{path:?} [{index}]: {got} instead of {want}");
        }
    }
}

#[test]
fn a_png_or_jpeg_cut_anywhere_is_an_error() {
    for path in fixtures() {
        let extension = path.extension().unwrap();
        if extension != "png" && extension != "jpg" {
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        for len in 0..bytes.len() {
            let result = decode_image(&bytes[..len], &ImageLimits::default());
            assert!(result.is_err(), "{path:?} cut to {len} of {} bytes", bytes.len());
        }
    }
}

#[test]
fn a_cut_image_of_any_format_never_panics() {
    for path in fixtures() {
        let bytes = fs::read(&path).unwrap();
        for len in 0..bytes.len() {
            let _ = decode_image(&bytes[..len], &ImageLimits::default());
        }
    }
}

#[test]
fn the_message_says_that_a_cut_image_is_truncated() {
    for (name, format) in
        [("rgb.png", "PNG"), ("ycbcr_420.jpg", "JPEG"), ("progressive.jpg", "JPEG")]
    {
        let path = fixtures().into_iter().find(|path| path.ends_with(name)).unwrap();
        let bytes = fs::read(&path).unwrap();
        let cut = &bytes[..bytes.len() * 3 / 4];
        let error = decode_image(cut, &ImageLimits::default()).unwrap_err();
        assert!(matches!(error, Error::TruncatedImage { .. }), "{name}: {error:?}");
        assert!(error.to_string().starts_with(&format!("truncated {format}: ")), "{error}");
    }
}

#[test]
fn limits_hold_for_every_format() {
    for path in fixtures() {
        let bytes = fs::read(&path).unwrap();
        let want = expected(&path);
        let max_pixels = (want.width() * want.height()) as u64;
        let limits = ImageLimits { max_pixels, ..Default::default() };
        decode_image(&bytes, &limits).unwrap();
        let less = ImageLimits { max_pixels: max_pixels - 1, ..limits };
        let error = decode_image(&bytes, &less).unwrap_err();
        assert!(matches!(error, Error::TooManyPixels { .. }), "{path:?}: {error:?}");
        let less = ImageLimits { max_bytes: bytes.len() as u64 - 1, ..limits };
        let error = decode_image(&bytes, &less).unwrap_err();
        assert!(matches!(error, Error::TooManyBytes { .. }), "{path:?}: {error:?}");
    }
}
