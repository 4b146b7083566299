//! Images of extreme shapes take memory and time of their own size, not of their square's.

use std::time::{Duration, Instant};

use cumo_bundle::{AspectRatio, ImageFacts};
use cumo_processor::{ImageProcessor, RgbImage};
use proptest::prelude::*;

fn processor(size: usize, aspect_ratio: AspectRatio) -> ImageProcessor {
    ImageProcessor::new(&ImageFacts {
        size,
        aspect_ratio,
        mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
        std: [0.25, 0.5, 0.75],
    })
}

fn plain(width: usize, height: usize, color: [u8; 3]) -> RgbImage {
    RgbImage::new(width, height, color.repeat(width * height)).unwrap()
}

#[test]
fn a_line_of_65_535_pixels_is_processed_in_seconds() {
    for aspect_ratio in [AspectRatio::Pad, AspectRatio::Crop] {
        for (width, height) in [(65_535, 1), (1, 65_535)] {
            let start = Instant::now();
            let values = processor(336, aspect_ratio).process(&plain(width, height, [9, 99, 199]));
            assert_eq!(values.len(), 3 * 336 * 336);
            // Padded to a square in memory, it would be 12.9 GB.
            assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
        }
    }
}

#[test]
fn padding_has_the_mean_colour_on_both_sides() {
    // 3 of 4 columns: none before, one after ((4 - 3) / 2 = 0).
    let processor = processor(4, AspectRatio::Pad);
    let values = processor.process(&plain(3, 4, [255, 255, 255]));
    let (image, background) = (values[0], values[3]);
    assert!(values[..3].iter().all(|value| *value == image));
    assert!((f64::from(image) - (1.0 - 0.481_454_66) / 0.25).abs() < 1e-6);
    assert!((f64::from(background) - (122.0 / 255.0 - 0.481_454_66) / 0.25).abs() < 1e-6);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn one_colour_stays_one_colour(
        width in 1usize..400, height in 1usize..400, size in 1usize..64, color: [u8; 3],
    ) {
        let processor = processor(size, AspectRatio::Crop);
        let values = processor.process(&plain(width, height, color));
        for plane in values.chunks_exact(size * size) {
            prop_assert!(plane.iter().all(|value| value.to_bits() == plane[0].to_bits()));
        }
    }
}
