//! Tensors of networks and engines.

use std::fmt;

/// A number format of TensorRT's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DType {
    /// 32-bit float.
    F32,
    /// 16-bit float.
    F16,
    /// 8-bit signed integer.
    I8,
    /// 32-bit signed integer.
    I32,
    /// A byte that is 0 or 1.
    Bool,
    /// 8-bit unsigned integer.
    U8,
    /// 8-bit float: 4 bits of exponent, 3 of mantissa.
    F8E4M3,
    /// 16-bit float with the exponent of a 32-bit one.
    BF16,
    /// 64-bit signed integer.
    I64,
    /// 4-bit signed integer, two a byte.
    I4,
    /// 4-bit float, two a byte.
    F4E2M1,
    /// 8-bit exponent.
    E8M0,
    /// One that this crate does not know, by TensorRT's number.
    Other(i32),
}

/// By TensorRT's numbers.
const DTYPES: [(DType, &str, usize); 12] = [
    (DType::F32, "f32", 32),
    (DType::F16, "f16", 16),
    (DType::I8, "i8", 8),
    (DType::I32, "i32", 32),
    (DType::Bool, "bool", 8),
    (DType::U8, "u8", 8),
    (DType::F8E4M3, "f8e4m3", 8),
    (DType::BF16, "bf16", 16),
    (DType::I64, "i64", 64),
    (DType::I4, "i4", 4),
    (DType::F4E2M1, "f4e2m1", 4),
    (DType::E8M0, "e8m0", 8),
];

impl DType {
    pub(crate) fn from_number(number: i32) -> Self {
        let known = usize::try_from(number).ok().and_then(|index| DTYPES.get(index));
        known.map_or(DType::Other(number), |(dtype, _, _)| *dtype)
    }

    /// Bits of an element; `None` for types that this crate does not know.
    #[must_use]
    pub fn bits(self) -> Option<usize> {
        DTYPES.iter().find(|(dtype, _, _)| *dtype == self).map(|(_, _, bits)| *bits)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DTYPES.iter().find(|(dtype, _, _)| dtype == self) {
            Some((_, name, _)) => f.write_str(name),
            None => write!(f, "{self:?}"),
        }
    }
}

/// A tensor of a network, of one of its layers, or of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Its name; of an optional input that is absent, empty.
    pub name: String,
    /// Its number format.
    pub dtype: DType,
    /// Its shape, -1 for dimensions that are not fixed; `None` where even the rank is unknown.
    pub shape: Option<Vec<i64>>,
    /// Whether TensorRT reads or writes it on the host.
    pub is_host: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_tensorrts_numbers() {
        assert_eq!(DType::from_number(1), DType::F16);
        assert_eq!(DType::from_number(8), DType::I64);
        assert_eq!(DType::from_number(99), DType::Other(99));
        assert_eq!((DType::I4.bits(), DType::Other(99).bits()), (Some(4), None));
        assert_eq!(
            (DType::BF16.to_string().as_str(), DType::Bool.to_string().as_str()),
            ("bf16", "bool")
        );
    }
}
