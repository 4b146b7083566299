//! Elements from one floating-point type to another.

use cumo_checkpoint::Dtype;
use cumo_onnx::DType;
use half::f16;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};

/// Counts of numbers that a model should not have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Oddities {
    /// Not a number.
    pub nan: usize,
    /// Infinite in the checkpoint.
    pub infinite: usize,
    /// Finite in the checkpoint and beyond what f16 can hold.
    pub beyond_f16: usize,
}

impl Oddities {
    /// Whether there are any.
    pub fn any(self) -> bool {
        self != Oddities::default()
    }

    /// Adds another count.
    pub fn add(&mut self, other: Oddities) {
        self.nan += other.nan;
        self.infinite += other.infinite;
        self.beyond_f16 += other.beyond_f16;
    }

    /// Counts in `values`, which are to be written as `dtype`.
    fn count(&mut self, values: &[f32], dtype: DType) {
        // One pass without branches decides for nearly every tensor.
        let limit = if dtype == DType::F16 { F16_LIMIT } else { f32::INFINITY };
        let tame = values.iter().fold(true, |tame, value| tame & (value.abs() < limit));
        if tame {
            return;
        }
        for value in values {
            self.nan += usize::from(value.is_nan());
            self.infinite += usize::from(value.is_infinite());
            self.beyond_f16 +=
                usize::from(dtype == DType::F16 && value.is_finite() && value.abs() >= F16_LIMIT);
        }
    }
}

/// From here on, f32 rounds to infinity in f16: half a step above 65,504.
const F16_LIMIT: f32 = 65_520.0;

/// Reads as many little-endian elements of type `dtype` as `values` holds.
pub(super) fn read(bytes: &[u8], dtype: Dtype, values: &mut [f32]) {
    match dtype {
        Dtype::F32 => {
            for (value, bytes) in values.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *value = f32::from_le_bytes(*bytes);
            }
        }
        Dtype::Bf16 => {
            for (value, bytes) in values.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *value = f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16);
            }
        }
        Dtype::F16 => {
            let mut bits = [0u16; 64];
            let chunks = values.chunks_mut(bits.len()).zip(bytes.chunks(2 * bits.len()));
            for (values, bytes) in chunks {
                for (bits, bytes) in bits.iter_mut().zip(bytes.as_chunks::<2>().0) {
                    *bits = u16::from_le_bytes(*bytes);
                }
                let count = values.len();
                bits[..count].reinterpret_cast::<f16>().convert_to_f32_slice(values);
            }
        }
    }
}

/// Writes `values` as little-endian elements of type `dtype` into `bytes`, which has room for just
/// these.
pub(super) fn write(values: &[f32], dtype: DType, bytes: &mut [u8], oddities: &mut Oddities) {
    oddities.count(values, dtype);
    if dtype == DType::F16 {
        let mut halves = [f16::ZERO; 64];
        let chunks = values.chunks(halves.len()).zip(bytes.chunks_mut(2 * halves.len()));
        for (values, bytes) in chunks {
            let halves = &mut halves[..values.len()];
            halves.convert_from_f32_slice(values);
            for (half, bytes) in halves.iter().zip(bytes.as_chunks_mut::<2>().0) {
                *bytes = half.to_le_bytes();
            }
        }
    } else {
        for (value, bytes) in values.iter().zip(bytes.as_chunks_mut::<4>().0) {
            *bytes = value.to_le_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_f16_survives_the_way_to_f32_and_back() {
        let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        let mut values = vec![0.0; 1 << 16];
        read(&bytes, Dtype::F16, &mut values);
        let mut back = vec![0; bytes.len()];
        write(&values, DType::F16, &mut back, &mut Oddities::default());
        for (index, (before, after)) in bytes.chunks(2).zip(back.chunks(2)).enumerate() {
            assert!(before == after || values[index].is_nan(), "{index:#x}");
        }
    }

    #[test]
    fn odd_numbers_are_counted_by_kind() {
        let values = [1.0, f32::NAN, f32::INFINITY, 65_519.0, 65_520.0, -1e30];
        let (mut wide, mut narrow) = (Oddities::default(), Oddities::default());
        write(&values, DType::F32, &mut [0; 24], &mut wide);
        write(&values, DType::F16, &mut [0; 12], &mut narrow);
        assert_eq!(wide, Oddities { nan: 1, infinite: 1, beyond_f16: 0 });
        assert_eq!(narrow, Oddities { nan: 1, infinite: 1, beyond_f16: 2 });
    }
}
