//! What is said of files that are no images, or too large ones.

use std::fs;
use std::path::{Path, PathBuf};

use cumo_processor::{ImageLimits, decode_image, load_image};
use proptest::prelude::*;

fn message(path: &Path, limits: &ImageLimits) -> String {
    load_image(path, limits).unwrap_err().to_string()
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/images").join(name)
}

/// A PNG without pixel data whose header promises this size.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = fs::read(fixture("rgb.png")).unwrap();
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    bytes
}

#[test]
fn a_text_named_png_is_no_image() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.png");
    fs::write(&path, "These are notes.").unwrap();
    assert_eq!(
        message(&path, &ImageLimits::default()),
        format!(
            "{}: not an image of a supported format (PNG, JPEG, WebP, BMP, GIF)",
            path.display()
        )
    );
    fs::write(&path, "").unwrap();
    assert!(message(&path, &ImageLimits::default()).contains("not an image"));
}

#[test]
fn an_image_of_60_000_by_60_000_is_refused_by_its_header() {
    let error = decode_image(&png_header(60_000, 60_000), &ImageLimits::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "60000 x 60000 pixels, the limit is 100000000 pixels in all and 65535 an edge"
    );
    let mut jpeg = fs::read(fixture("ycbcr_420.jpg")).unwrap();
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xea, 0x60, 0xea, 0x60]);
    let error = decode_image(&jpeg, &ImageLimits::default()).unwrap_err();
    assert!(error.to_string().starts_with("60000 x 60000 pixels"), "{error}");
    let mut bmp = fs::read(fixture("rgb.bmp")).unwrap();
    bmp[18..26].copy_from_slice(&[0x60, 0xea, 0, 0, 0x60, 0xea, 0, 0]);
    let error = decode_image(&bmp, &ImageLimits::default()).unwrap_err();
    assert!(error.to_string().starts_with("60000 x 60000 pixels"), "{error}");
}

#[test]
fn an_edge_that_no_image_has_is_refused_with_few_pixels() {
    let error = decode_image(&png_header(1_000_000, 1), &ImageLimits::default()).unwrap_err();
    assert!(error.to_string().contains("65535 an edge"), "{error}");
}

#[test]
fn an_image_without_pixels_is_an_error() {
    for (width, height) in [(0, 0), (0, 5), (5, 0)] {
        decode_image(&png_header(width, height), &ImageLimits::default()).unwrap_err();
    }
}

#[test]
fn a_large_file_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.png");
    // A hole: the file takes no room on the disk.
    fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    assert_eq!(
        message(&path, &ImageLimits::default()),
        format!("{}: 1099511627776 bytes, the limit is 67108864", path.display())
    );
}

#[test]
fn what_is_no_file_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let limits = ImageLimits::default();
    let path = folder.path();
    assert_eq!(message(path, &limits), format!("{}: not a regular file", path.display()));
    let absent = path.join("absent.png");
    assert!(message(&absent, &limits).starts_with(&format!("{}: ", absent.display())));
}

#[cfg(unix)]
#[test]
fn a_pipe_is_an_error_and_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe.png");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    assert!(message(&path, &ImageLimits::default()).ends_with("not a regular file"));
}

#[test]
fn a_jpeg_that_ends_early_but_in_order_is_no_gray_half() {
    let bytes = fs::read(fixture("gray.jpg")).unwrap();
    let mut cut = bytes[..bytes.len() - 40].to_vec();
    cut.extend([0xff, 0xd9]);
    let error = decode_image(&cut, &ImageLimits::default()).unwrap_err();
    assert!(error.to_string().contains("ends early"), "{error}");
}

proptest! {
    #[test]
    fn changed_bytes_never_panic(
        name in prop::sample::select(vec![
            "rgb.png", "gray_16_interlaced.png", "palette.png", "progressive.jpg", "ycbcr_420.jpg",
            "restarts.jpg", "cmyk.jpg", "animated.gif", "inside_screen.gif", "lossy.webp",
            "lossless_alpha.webp", "animated.webp", "palette.bmp", "rgb_565.bmp", "rgba.bmp",
        ]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = fs::read(fixture(name)).unwrap();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let limits = ImageLimits { max_pixels: 1 << 20, ..Default::default() };
        if let Ok(image) = decode_image(&bytes, &limits) {
            prop_assert_eq!(image.pixels().len(), image.width() * image.height() * 3);
        }
    }

    #[test]
    fn any_bytes_after_a_jpegs_first_never_panic(rest in prop::collection::vec(any::<u8>(), 0..300)) {
        let bytes = [&[0xff, 0xd8, 0xff][..], &rest].concat();
        let _ = decode_image(&bytes, &ImageLimits { max_pixels: 1 << 20, ..Default::default() });
    }
}
