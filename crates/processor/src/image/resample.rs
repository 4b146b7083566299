//! Bicubic resampling as Pillow does it (`Resample.c`), to the last bit.
//!
//! Weights are computed in f64 and rounded to fixed point with 22 fractional bits; each of the two
//! passes, first along rows and then along columns, rounds to 8 bits. Unlike Pillow, only the
//! window of the output that is asked for is computed, and rows are taken one at a time: memory
//! does not grow with the image.

use std::collections::VecDeque;

/// Fractional bits of a weight: 8 bits for the result and 2 for sums outside `[0, 1]`.
const PRECISION_BITS: u32 = 32 - 8 - 2;
/// Half of the last place, added before the shift.
const ROUNDING: i32 = 1 << (PRECISION_BITS - 1);
/// Source pixels on each side that the cubic kernel reaches when nothing shrinks.
const SUPPORT: f64 = 2.0;

/// One output pixel's part of the source: `weights` belong to the pixels from `first` on.
struct Window {
    first: usize,
    weights: Vec<i32>,
}

/// One axis of a resize: `source` pixels become `full`, of which `start..start + len` are wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Axis {
    pub source: usize,
    pub full: usize,
    pub start: usize,
    pub len: usize,
}

impl Axis {
    /// The windows of the wanted output pixels, in order.
    fn windows(self) -> Vec<Window> {
        let scale = self.source as f64 / self.full as f64;
        let filter_scale = scale.max(1.0);
        (self.start..self.start + self.len)
            .map(|index| window(self.source, (index as f64 + 0.5) * scale, filter_scale))
            .collect()
    }
}

/// Keys' cubic convolution kernel with a = -0.5.
fn bicubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

/// The weights around `center`, in source pixels.
fn window(source: usize, center: f64, filter_scale: f64) -> Window {
    let support = SUPPORT * filter_scale;
    let inverse = 1.0 / filter_scale;
    // Conversions to an integer cut towards zero and saturate, as Pillow's do after its clamps.
    let first = (center - support + 0.5).max(0.0) as usize;
    let end = ((center + support + 0.5) as usize).min(source);
    let mut exact: Vec<f64> =
        (first..end).map(|x| bicubic((x as f64 - center + 0.5) * inverse)).collect();
    let sum: f64 = exact.iter().fold(0.0, |sum, weight| sum + weight);
    if sum != 0.0 {
        exact.iter_mut().for_each(|weight| *weight /= sum);
    }
    Window { first, weights: exact.into_iter().map(fixed_point).collect() }
}

fn fixed_point(weight: f64) -> i32 {
    let scaled = weight * f64::from(1u32 << PRECISION_BITS);
    if weight < 0.0 { (scaled - 0.5) as i32 } else { (scaled + 0.5) as i32 }
}

fn to_u8(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

/// Resamples an RGB image to `columns.len x rows.len` pixels, row by row.
///
/// `row(y)` gives row `y` of the source, `columns.source * 3` bytes; it is called for the rows that
/// the wanted window needs, each once, from top to bottom. `None` means: the same as `fill`, a
/// colour, in the whole row.
pub(crate) fn resample<'a>(
    columns: Axis,
    rows: Axis,
    fill: [u8; 3],
    mut row: impl FnMut(usize, &mut Vec<u8>) -> Row<'a>,
) -> Vec<u8> {
    let column_windows = columns.windows();
    let row_windows = rows.windows();
    let width = columns.len * 3;
    let mut out = vec![0u8; width * rows.len];
    // Sums of the output rows whose windows hold row `y`: `opened - closed` of them.
    let mut accumulators = VecDeque::new();
    let mut scratch = Vec::new();
    let mut line = vec![0u8; width];
    let mut filled = Vec::new();
    let (mut opened, mut closed) = (0, 0);
    let first_row = row_windows.first().map_or(0, |window| window.first);
    let last_row = row_windows.last().map_or(0, |window| window.first + window.weights.len());
    for y in first_row..last_row {
        while row_windows.get(opened).is_some_and(|window| window.first <= y) {
            accumulators.push_back(vec![ROUNDING; width]);
            opened += 1;
        }
        let line: &[u8] = match row(y, &mut scratch) {
            Row::Filled => {
                if filled.is_empty() {
                    filled = vec![0u8; width];
                    resample_row(&fill.repeat(columns.source), &column_windows, &mut filled);
                }
                &filled
            }
            Row::Pixels(pixels) => {
                resample_row(pixels, &column_windows, &mut line);
                &line
            }
            Row::Scratch => {
                resample_row(&scratch, &column_windows, &mut line);
                &line
            }
        };
        for (window, sums) in row_windows[closed..opened].iter().zip(&mut accumulators) {
            if let Some(&weight) = window.weights.get(y - window.first) {
                for (sum, &value) in sums.iter_mut().zip(line) {
                    *sum += i32::from(value) * weight;
                }
            }
        }
        while closed < opened
            && row_windows[closed].first + row_windows[closed].weights.len() == y + 1
        {
            if let Some(sums) = accumulators.pop_front() {
                let target = &mut out[closed * width..(closed + 1) * width];
                target.iter_mut().zip(sums).for_each(|(value, sum)| *value = to_u8(sum));
            }
            closed += 1;
        }
    }
    out
}

/// A row of the source.
pub(crate) enum Row<'a> {
    /// These pixels.
    Pixels(&'a [u8]),
    /// The pixels that were put into the scratch buffer.
    Scratch,
    /// The fill colour throughout.
    Filled,
}

/// The pass along one row.
fn resample_row(pixels: &[u8], windows: &[Window], out: &mut [u8]) {
    for (window, target) in windows.iter().zip(out.chunks_exact_mut(3)) {
        let mut sums = [ROUNDING; 3];
        for (pixel, &weight) in pixels[window.first * 3..].chunks_exact(3).zip(&window.weights) {
            for (sum, &value) in sums.iter_mut().zip(pixel) {
                *sum += i32::from(value) * weight;
            }
        }
        target.iter_mut().zip(sums).for_each(|(value, sum)| *value = to_u8(sum));
    }
}
