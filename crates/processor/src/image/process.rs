//! Padding, resizing, cropping and normalising, as `CLIPImageProcessor` does.

use cumo_bundle::{AspectRatio, ImageFacts};

use super::RgbImage;
use super::resample::{Axis, resample};

/// Makes `pixel_values` of images, as Hugging Face's `CLIPImageProcessor` (transformers 4.37.2,
/// numpy) does after CuMo's `process_images`: equal bit for bit.
#[derive(Debug, Clone)]
pub struct ImageProcessor {
    size: usize,
    aspect_ratio: AspectRatio,
    /// The colour that images are padded with.
    background: [u8; 3],
    /// What each value of a channel becomes.
    normalized: Box<[[f32; 256]; 3]>,
}

impl ImageProcessor {
    /// A processor for a model's images.
    pub fn new(facts: &ImageFacts) -> Self {
        let mut normalized = Box::new([[0.0; 256]; 3]);
        for (channel, values) in normalized.iter_mut().enumerate() {
            for (value, out) in values.iter_mut().enumerate() {
                // numpy multiplies in f64, casts to f32, and subtracts and divides in f32.
                let rescaled = (value as f64 * (1.0 / 255.0)) as f32;
                *out = (rescaled - facts.mean[channel]) / facts.std[channel];
            }
        }
        ImageProcessor {
            size: facts.size,
            aspect_ratio: facts.aspect_ratio,
            background: facts.mean.map(background),
            normalized,
        }
    }

    /// Height and width of `pixel_values`.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Numbers in one image's `pixel_values`: `3 * size * size`.
    pub fn num_values(&self) -> usize {
        3 * self.size * self.size
    }

    /// `pixel_values` of one image, `[3, size, size]` f32, channels red, green, blue.
    pub fn process(&self, image: &RgbImage) -> Vec<f32> {
        let mut out = vec![0.0; self.num_values()];
        self.process_into(image, &mut out);
        out
    }

    /// The same, written to `out`.
    ///
    /// # Panics
    /// If `out` does not hold [`num_values`](Self::num_values) numbers.
    pub fn process_into(&self, image: &RgbImage, out: &mut [f32]) {
        assert_eq!(out.len(), self.num_values(), "pixel_values of a {0} x {0} image", self.size);
        if self.size == 0 {
            return;
        }
        let pixels = self.resized(image);
        for (plane, values) in out.chunks_exact_mut(self.size * self.size).zip(0..) {
            let normalized: &[f32; 256] = &self.normalized[values];
            for (out, pixel) in plane.iter_mut().zip(pixels.chunks_exact(3)) {
                *out = normalized[usize::from(pixel[values])];
            }
        }
    }

    /// The image as `size x size` RGB pixels.
    fn resized(&self, image: &RgbImage) -> Vec<u8> {
        match self.aspect_ratio {
            AspectRatio::Pad => self.padded(image),
            AspectRatio::Crop => self.cropped(image),
        }
    }

    /// Pads to a square, the image in its middle, and resizes that. The square is never in memory.
    fn padded(&self, image: &RgbImage) -> Vec<u8> {
        let side = image.width().max(image.height());
        let axis = |source: usize| {
            let before = (side - source) / 2;
            let after = side - source - before;
            Axis { before, source, after, full: self.size, start: 0, len: self.size }
        };
        let (columns, rows) = (axis(image.width()), axis(image.height()));
        resample(columns, rows, self.background, |y| image.row(y))
    }

    /// Resizes the short edge to `size` and takes the centre. The rest is never computed.
    fn cropped(&self, image: &RgbImage) -> Vec<u8> {
        let short = image.width().min(image.height());
        let axis = |source: usize| {
            // Python: int(size * source / short), a division in f64.
            let full = ((self.size * source) as f64 / short as f64) as usize;
            let start = (full - self.size) / 2;
            Axis { before: 0, source, after: 0, full, start, len: self.size }
        };
        let (columns, rows) = (axis(image.width()), axis(image.height()));
        resample(columns, rows, self.background, |y| image.row(y))
    }
}

/// `int(mean * 255)` as Python computes it from the number in `preprocessor_config.json`, which is
/// an f64: the shortest decimal that gives the f32 is that number.
fn background(mean: f32) -> u8 {
    let mean: f64 = mean.to_string().parse().unwrap_or(f64::from(mean));
    (mean * 255.0) as u8
}
