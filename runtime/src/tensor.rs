//! Numbers of a graph's types as bytes, and back.

use cumo_bundle::Dtype;
use half::f16;

/// A tensor copied to the host as `f32`.
#[derive(Debug, Clone, PartialEq)]
pub struct HostTensor {
    /// Shape.
    pub shape: Vec<usize>,
    /// Values, row-major. Integers of more than 24 bits are rounded.
    pub values: Vec<f32>,
}

/// Writes `values` as `dtype` behind `out`.
pub(crate) fn encode(values: &[f32], dtype: Dtype, out: &mut Vec<u8>) {
    match dtype {
        Dtype::F32 => out.extend(values.iter().flat_map(|value| value.to_ne_bytes())),
        Dtype::F16 => {
            out.extend(values.iter().flat_map(|value| f16::from_f32(*value).to_ne_bytes()));
        }
        Dtype::I64 => out.extend(values.iter().flat_map(|value| (*value as i64).to_ne_bytes())),
        Dtype::I32 => out.extend(values.iter().flat_map(|value| (*value as i32).to_ne_bytes())),
    }
}

/// Reads numbers of `dtype` into `out`, replacing what it held.
pub(crate) fn decode(bytes: &[u8], dtype: Dtype, out: &mut Vec<f32>) {
    out.clear();
    match dtype {
        Dtype::F32 => out.extend(chunks(bytes).map(f32::from_ne_bytes)),
        Dtype::F16 => out.extend(chunks(bytes).map(|chunk| f16::from_ne_bytes(chunk).to_f32())),
        Dtype::I64 => out.extend(chunks(bytes).map(|chunk| i64::from_ne_bytes(chunk) as f32)),
        Dtype::I32 => out.extend(chunks(bytes).map(|chunk| i32::from_ne_bytes(chunk) as f32)),
    }
}

fn chunks<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes.as_chunks::<N>().0.iter().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_comes_back() {
        let values = [-2.0, 0.0, 1.0, 1000.0];
        for dtype in [Dtype::F32, Dtype::F16, Dtype::I64, Dtype::I32] {
            let (mut bytes, mut back) = (Vec::new(), vec![9.0]);
            encode(&values, dtype, &mut bytes);
            assert_eq!(bytes.len(), values.len() * dtype.size());
            decode(&bytes, dtype, &mut back);
            assert_eq!(back, values);
        }
    }
}
