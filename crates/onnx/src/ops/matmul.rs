//! Matrix products.

use crate::{Dim, Error, GraphBuilder, Shape, Value};

impl GraphBuilder {
    /// `left @ right` over the last two dimensions; those before them broadcast.
    ///
    /// # Errors
    /// [`Error::Node`] where types or inner sizes differ, or the other dimensions do not
    /// broadcast.
    pub fn matmul(&mut self, left: &Value, right: &Value) -> Result<Value, Error> {
        match product_shape(left, right) {
            Ok(shape) => Ok(self.add("MatMul", &[left, right], left.dtype(), shape, vec![])),
            Err(problem) => Err(self.fault("MatMul", problem)),
        }
    }
}

fn product_shape(left: &Value, right: &Value) -> Result<Shape, String> {
    let describe =
        |what: &str| format!("left is {}, right is {}: {what}", left.describe(), right.describe());
    if left.dtype() != right.dtype() {
        return Err(describe("types differ"));
    }
    let split = |value: &Value| -> Option<(Vec<Dim>, Dim, Dim)> {
        let (matrix_column, rest) = value.shape().dims().split_last()?;
        let (matrix_row, batch) = rest.split_last()?;
        Some((batch.to_vec(), matrix_row.clone(), matrix_column.clone()))
    };
    let (Some((left_batch, rows, left_inner)), Some((right_batch, right_inner, columns))) =
        (split(left), split(right))
    else {
        return Err(describe("both need two dimensions"));
    };
    if left_inner != right_inner {
        return Err(describe(&format!("inner sizes {left_inner} and {right_inner} differ")));
    }
    let batch = Shape::from(left_batch)
        .broadcast(&Shape::from(right_batch))
        .ok_or_else(|| describe("leading dimensions do not broadcast"))?;
    let dims = batch.dims().iter().cloned().chain([rows, columns]);
    Ok(Shape::from(dims.collect::<Vec<_>>()))
}
