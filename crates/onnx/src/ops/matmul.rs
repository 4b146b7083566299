//! Matrix products.

use crate::attribute::Attribute;
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

    /// `left @ right^T`, `[rows, columns]`, of the matrices `left` `[rows, inner]` and `right`
    /// `[columns, inner]`.
    ///
    /// # Errors
    /// [`Error::Node`] where types or inner sizes differ, or one has not two dimensions.
    pub fn matmul_transposed(&mut self, left: &Value, right: &Value) -> Result<Value, Error> {
        let [rows, columns] = match (left.shape().dims(), right.shape().dims()) {
            ([rows, left_inner], [columns, right_inner])
                if left_inner == right_inner && left.dtype() == right.dtype() =>
            {
                [rows.clone(), columns.clone()]
            }
            _ => {
                let (left, right) = (left.describe(), right.describe());
                let problem = format!(
                    "left is {left}, right is {right}: both need two dimensions, one type, and \
                     the second of the same size"
                );
                return Err(self.fault("Gemm", problem));
            }
        };
        let transposed = vec![("transB", Attribute::Int(1))];
        Ok(self.add("Gemm", &[left, right], left.dtype(), vec![rows, columns], transposed))
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

#[cfg(test)]
mod tests {
    use crate::{DType, GraphBuilder, Shape, dims};

    #[test]
    fn rows_times_a_transposed_matrix_are_rows_of_its_rows() {
        let mut g = GraphBuilder::new();
        let x = g.input("x", DType::F16, dims!["rows", 8]).unwrap();
        let w = g.input("w", DType::F16, [3, 8]).unwrap();
        let y = g.matmul_transposed(&x, &w).unwrap();
        assert_eq!(*y.shape(), Shape::from(dims!["rows", 3]));
        let message = g.matmul_transposed(&w, &y).unwrap_err().to_string();
        assert!(message.contains("Gemm") && message.contains("[3, 8]"), "{message}");
        let batch = g.input("batch", DType::F16, dims!["batch", "rows", 8]).unwrap();
        g.matmul_transposed(&batch, &w).unwrap_err();
        let sizes = g.leading_sizes_of(&batch).unwrap();
        assert_eq!((sizes.dtype(), sizes.shape()), (DType::I64, &Shape::from([2])));
    }
}
