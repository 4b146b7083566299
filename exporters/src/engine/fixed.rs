//! Sizes that an engine fixes, written into its graph: the length of a cache must be a number for
//! TensorRT's parser, and what is fixed needs no code for other sizes.

use cumo_onnx::proto::tensor_shape_proto::dimension::Value as Size;
use cumo_onnx::proto::{ModelProto, ValueInfoProto, type_proto};
use prost::{DecodeError, Message};

/// The model with numbers in place of the symbols of its values for which `size` has one.
///
/// # Errors
/// Bytes that are no model.
pub(super) fn fix(
    model: &[u8],
    size: &dyn Fn(&str, &str) -> Option<usize>,
) -> Result<Vec<u8>, DecodeError> {
    let mut model = ModelProto::decode(model)?;
    if let Some(graph) = &mut model.graph {
        let values = graph.input.iter_mut().chain(&mut graph.output).chain(&mut graph.value_info);
        values.for_each(|value| fix_value(value, size));
    }
    Ok(model.encode_to_vec())
}

fn fix_value(value: &mut ValueInfoProto, size: &dyn Fn(&str, &str) -> Option<usize>) {
    let name = value.name().to_owned();
    let dtype = value.r#type.as_mut().and_then(|dtype| dtype.value.as_mut());
    let Some(type_proto::Value::TensorType(tensor)) = dtype else { return };
    for dim in tensor.shape.iter_mut().flat_map(|shape| &mut shape.dim) {
        if let Some(Size::DimParam(symbol)) = &dim.value
            && let Some(size) = size(&name, symbol)
        {
            dim.value = i64::try_from(size).ok().map(Size::DimValue);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cumo_onnx::{DType, GraphBuilder, dims};

    #[test]
    fn fixed_sizes_take_the_place_of_symbols_and_others_stay() {
        let mut g = GraphBuilder::new();
        let x = g.input("x", DType::F16, dims!["batch", "sequence", 8]).unwrap();
        let y = g.add_values(&x, &x).unwrap();
        g.output("y", &y, DType::F16, dims!["batch", "sequence", 8]).unwrap();
        let model = g.finish().encode("g", "g.data", ("test", "1"));
        let fixed = fix(&model, &|_, symbol| (symbol == "batch").then_some(3)).unwrap();
        let text = String::from_utf8_lossy(&fixed);
        assert!(!text.contains("batch") && text.contains("sequence"), "{text}");
        let fixed = fix(&model, &|value, _| (value == "x").then_some(3)).unwrap();
        let text = String::from_utf8_lossy(&fixed);
        assert!(text.contains("batch"), "y keeps its symbols: {text}");
        assert!(fix(b"\xffno model", &|_, _| None).is_err());
    }
}
