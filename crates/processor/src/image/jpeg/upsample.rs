//! Chroma upsampling of libjpeg-turbo's `jdsample.c`: "fancy" (triangle filter) for factors of 2,
//! repeated samples for others.

use super::frame::Component;

/// How many pixels a sample covers.
#[derive(Clone, Copy)]
pub(super) struct Factors {
    pub(super) horizontal: usize,
    pub(super) vertical: usize,
}

/// Row `y` of the image in a component, into `out`; `sums` is room to work in.
pub(super) fn row(
    component: &Component,
    factors: Factors,
    y: usize,
    sums: &mut Vec<i32>,
    out: &mut Vec<u8>,
) {
    out.clear();
    let near = component.row(y / factors.vertical);
    // The row on the other side of the pixel, the same one at the image's edge.
    let far = |y: usize| {
        let other = if y.is_multiple_of(2) { (y / 2).saturating_sub(1) } else { y / 2 + 1 };
        component.row(other)
    };
    match (factors.horizontal, factors.vertical) {
        (1, 1) => out.extend_from_slice(near),
        (2, 1) if near.len() > 2 => {
            sums.clear();
            sums.extend(near.iter().map(|&value| i32::from(value)));
            widen(sums, 1, 2, 2, out);
        }
        (1, 2) => {
            let bias = if y.is_multiple_of(2) { 1 } else { 2 };
            let blend = |(&near, &far): (&u8, &u8)| {
                ((i32::from(near) * 3 + i32::from(far) + bias) >> 2) as u8
            };
            out.extend(near.iter().zip(far(y)).map(blend));
        }
        (2, 2) if near.len() > 2 => {
            sums.clear();
            let sum = |(&near, &far): (&u8, &u8)| i32::from(near) * 3 + i32::from(far);
            sums.extend(near.iter().zip(far(y)).map(sum));
            widen(sums, 8, 7, 4, out);
        }
        (factor, _) => {
            out.extend(near.iter().flat_map(|&value| std::iter::repeat_n(value, factor)))
        }
    }
}

/// Two samples for each: three quarters of it and one of its neighbour, the first and the last as
/// they are. The result loses `shift` bits; `left` and `right` are added before.
fn widen(values: &[i32], left: i32, right: i32, shift: u32, out: &mut Vec<u8>) {
    for (index, &value) in values.iter().enumerate() {
        // With itself as neighbour, a sample at the edge comes out as it is.
        let before = index.checked_sub(1).map_or(value, |before| values[before]);
        let after = values.get(index + 1).copied().unwrap_or(value);
        out.push(((value * 3 + before + left) >> shift) as u8);
        out.push(((value * 3 + after + right) >> shift) as u8);
    }
}
