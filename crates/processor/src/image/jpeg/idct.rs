//! The inverse DCT of libjpeg's `jidctint.c` ("islow"): Loeffler, Ligtenberg and Moschytz's, with
//! 13 fractional bits in the constants and 2 more in the first pass's results.

use super::frame::BLOCK;

const CONST_BITS: u32 = 13;
const PASS1_BITS: u32 = 2;

/// A block's samples from its coefficients, both in rows.
pub(super) fn samples(coefficients: &[i16; BLOCK], quantization: &[u16; BLOCK]) -> [u8; BLOCK] {
    let mut work = [0i32; BLOCK];
    for x in 0..8 {
        let column: [i32; 8] = std::array::from_fn(|y| {
            i32::from(coefficients[y * 8 + x]).wrapping_mul(i32::from(quantization[y * 8 + x]))
        });
        let out = transform(column, CONST_BITS - PASS1_BITS);
        for (y, value) in out.into_iter().enumerate() {
            work[y * 8 + x] = value;
        }
    }
    let mut samples = [0u8; BLOCK];
    for (row, out) in work.as_chunks::<8>().0.iter().zip(samples.as_chunks_mut::<8>().0) {
        let values = transform(*row, CONST_BITS + PASS1_BITS + 3);
        *out = values.map(|value| value.saturating_add(128).clamp(0, 255) as u8);
    }
    samples
}

/// One dimension; the results lose `shift` bits, rounded. Sums wrap, which only damaged files see.
fn transform(input: [i32; 8], shift: u32) -> [i32; 8] {
    let mul = |a: i32, b: i32| a.wrapping_mul(b);
    let add = |a: i32, b: i32| a.wrapping_add(b);
    let sub = |a: i32, b: i32| a.wrapping_sub(b);

    // Even part.
    let z1 = mul(add(input[2], input[6]), 4433);
    let tmp2 = add(z1, mul(input[6], -15137));
    let tmp3 = add(z1, mul(input[2], 6270));
    let tmp0 = mul(add(input[0], input[4]), 1 << CONST_BITS);
    let tmp1 = mul(sub(input[0], input[4]), 1 << CONST_BITS);
    let even = [add(tmp0, tmp3), add(tmp1, tmp2), sub(tmp1, tmp2), sub(tmp0, tmp3)];

    // Odd part.
    let [tmp0, tmp1, tmp2, tmp3] = [input[7], input[5], input[3], input[1]];
    let (z1, z2) = (add(tmp0, tmp3), add(tmp1, tmp2));
    let (z3, z4) = (add(tmp0, tmp2), add(tmp1, tmp3));
    let z5 = mul(add(z3, z4), 9633);
    let (z1, z2) = (mul(z1, -7373), mul(z2, -20995));
    let (z3, z4) = (add(mul(z3, -16069), z5), add(mul(z4, -3196), z5));
    let odd = [
        add(mul(tmp3, 12299), add(z1, z4)),
        add(mul(tmp2, 25172), add(z2, z3)),
        add(mul(tmp1, 16819), add(z2, z4)),
        add(mul(tmp0, 2446), add(z1, z3)),
    ];

    let half = 1 << (shift - 1);
    std::array::from_fn(|index| {
        let sum = match index {
            0..4 => add(even[index], odd[index]),
            _ => sub(even[7 - index], odd[7 - index]),
        };
        add(sum, half) >> shift
    })
}
