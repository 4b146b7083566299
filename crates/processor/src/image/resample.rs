//! Bicubic resampling as Pillow does it (`Resample.c`), to the last bit.
//!
//! Weights are computed in f64 and rounded to fixed point with 22 fractional bits; each of the two
//! passes, first along rows and then along columns, rounds to 8 bits. (Pillow 13.0 goes along
//! columns first where the height shrinks by more than twice as many pixels as the width; this is
//! the order of all versions before it, those that CuMo was trained with among them.)
//!
//! Unlike Pillow, only the window of the output that is asked for is computed, rows are taken one
//! at a time, and padding is a sum of weights: neither memory nor time grow with what is cut away or
//! padded.

use std::collections::VecDeque;

/// Fractional bits of a weight: 8 bits for the result and 2 for sums outside `[0, 1]`.
const PRECISION_BITS: u32 = 32 - 8 - 2;
/// Half of the last place, added before the shift.
const ROUNDING: i32 = 1 << (PRECISION_BITS - 1);
/// Source pixels on each side that the cubic kernel reaches when nothing shrinks.
const SUPPORT: f64 = 2.0;

/// One output pixel's part of the source: `weights` belong to the pixels from `first` on, `padding`
/// is the sum of the weights of pixels outside the image.
struct Window {
    first: usize,
    weights: Vec<i32>,
    padding: i32,
}

impl Window {
    fn end(&self) -> usize {
        self.first + self.weights.len()
    }

    /// What the padding adds, and what rounds.
    fn base(&self, fill: u8) -> i32 {
        ROUNDING + self.padding * i32::from(fill)
    }
}

/// One axis of a resize: `source` pixels, with `before` and `after` pixels of padding around them,
/// become `full`, of which `start..start + len` are wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Axis {
    pub(crate) before: usize,
    pub(crate) source: usize,
    pub(crate) after: usize,
    pub(crate) full: usize,
    pub(crate) start: usize,
    pub(crate) len: usize,
}

impl Axis {
    /// The windows of the wanted output pixels, in order.
    fn windows(self) -> Vec<Window> {
        let padded = self.before + self.source + self.after;
        let scale = padded as f64 / self.full as f64;
        let filter_scale = scale.max(1.0);
        (self.start..self.start + self.len)
            .map(|index| {
                let (first, weights) = weights(padded, (index as f64 + 0.5) * scale, filter_scale);
                self.clip(first, weights)
            })
            .collect()
    }

    /// The part of a window of the padded source that is in the image.
    fn clip(self, first: usize, weights: Vec<i32>) -> Window {
        let inside = self.before..self.before + self.source;
        let end = first + weights.len();
        let (from, to) =
            (first.clamp(inside.start, inside.end), end.clamp(inside.start, inside.end));
        let (mut kept, mut padding) = (Vec::with_capacity(to - from), 0);
        for (at, weight) in (first..).zip(weights) {
            if inside.contains(&at) { kept.push(weight) } else { padding += weight }
        }
        Window { first: from - self.before, weights: kept, padding }
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

/// The first of the pixels around `center` that have a weight, and their weights.
fn weights(source: usize, center: f64, filter_scale: f64) -> (usize, Vec<i32>) {
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
    (first, exact.into_iter().map(fixed_point).collect())
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
/// `row(y)` gives row `y` of the image, `columns.source * 3` bytes, or none; it is called for the
/// rows that are needed, each once, from top to bottom. Padding has the colour `fill`.
pub(crate) fn resample<'a>(
    columns: Axis,
    rows: Axis,
    fill: [u8; 3],
    row: impl Fn(usize) -> Option<&'a [u8]>,
) -> Vec<u8> {
    let column_windows = columns.windows();
    let row_windows = rows.windows();
    let width = columns.len * 3;
    let mut out = vec![0u8; width * rows.len];
    // The pass along a row of padding.
    let mut filled = vec![0u8; width];
    resample_row(&fill.repeat(columns.source), &column_windows, fill, &mut filled);
    let begin = |window: &Window| filled.iter().map(|&value| window.base(value)).collect();

    let mut targets = out.chunks_exact_mut(width.max(1));
    let mut finish = |sums: Vec<i32>| {
        let target = targets.next().unwrap_or_default();
        target.iter_mut().zip(sums).for_each(|(value, sum)| *value = to_u8(sum));
    };
    let mut waiting = row_windows.iter().peekable();
    // The windows that hold row `y`, each with its sums.
    let mut open: VecDeque<(&Window, Vec<i32>)> = VecDeque::new();
    let mut line = vec![0u8; width];
    let first_row = row_windows.first().map_or(0, |window| window.first);
    let end_row = row_windows.iter().map(Window::end).max().unwrap_or(0);
    for y in first_row..end_row {
        while let Some(window) = waiting.next_if(|window| window.first <= y) {
            open.push_back((window, begin(window)));
        }
        let Some(pixels) = row(y) else { break };
        resample_row(pixels, &column_windows, fill, &mut line);
        for (window, sums) in &mut open {
            let Some(&weight) = window.weights.get(y - window.first) else { continue };
            for (sum, &value) in sums.iter_mut().zip(&line) {
                *sum += i32::from(value) * weight;
            }
        }
        while open.front().is_some_and(|(window, _)| window.end() <= y + 1) {
            open.pop_front().into_iter().for_each(|(_, sums)| finish(sums));
        }
    }
    open.into_iter().for_each(|(_, sums)| finish(sums));
    waiting.for_each(|window| finish(begin(window)));
    out
}

/// The pass along one row.
fn resample_row(pixels: &[u8], windows: &[Window], fill: [u8; 3], out: &mut [u8]) {
    for (window, target) in windows.iter().zip(out.as_chunks_mut::<3>().0) {
        let mut sums = fill.map(|value| window.base(value));
        let pixels = pixels.as_chunks::<3>().0.get(window.first..).unwrap_or_default();
        for (pixel, &weight) in pixels.iter().zip(&window.weights) {
            for (sum, &value) in sums.iter_mut().zip(pixel) {
                *sum += i32::from(value) * weight;
            }
        }
        *target = sums.map(to_u8);
    }
}
