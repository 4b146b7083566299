//! Constants that are nodes: scalars and short lists of integers.

use half::f16;

use crate::attribute::Attribute;
use crate::proto::TensorProto;
use crate::{DType, GraphBuilder, Shape, Value};

impl GraphBuilder {
    /// A number of type `dtype`, without dimensions. Integers are truncated from it.
    pub fn scalar(&mut self, dtype: DType, value: f64) -> Value {
        let bytes = match dtype {
            DType::F32 => (value as f32).to_le_bytes().to_vec(),
            DType::F16 => f16::from_f64(value).to_le_bytes().to_vec(),
            DType::I64 => (value as i64).to_le_bytes().to_vec(),
            DType::I32 => (value as i32).to_le_bytes().to_vec(),
            DType::Bool => vec![u8::from(value != 0.0)],
        };
        self.constant(dtype, &[], bytes)
    }

    /// A list of integers, `[values]` i64.
    pub fn ints(&mut self, values: &[i64]) -> Value {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(DType::I64, &[values.len()], bytes)
    }

    /// A list of numbers, `[values]` f32.
    pub fn floats(&mut self, values: &[f32]) -> Value {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(DType::F32, &[values.len()], bytes)
    }

    /// The integer that the enclosing function is called with, `[1]` i64.
    pub fn int_of_function(&mut self, attribute: &'static str) -> Value {
        let scalar = Attribute::IntOfFunction(attribute);
        let value = self.add("Constant", &[], DType::I64, [0; 0], vec![("value_int", scalar)]);
        let zero = self.ints(&[0]);
        self.add("Unsqueeze", &[&value, &zero], DType::I64, [1], vec![])
    }

    fn constant(&mut self, dtype: DType, shape: &[usize], bytes: Vec<u8>) -> Value {
        let tensor = TensorProto {
            dims: shape.iter().map(|size| *size as i64).collect(),
            data_type: Some(dtype.code()),
            raw_data: Some(bytes),
            ..Default::default()
        };
        let value = vec![("value", Attribute::Tensor(tensor))];
        self.add("Constant", &[], dtype, Shape::from(shape), value)
    }
}
