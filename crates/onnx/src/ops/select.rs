//! Picking and placing elements: Gather, TopK, NonZero, ScatterElements.

use crate::attribute::Attribute;
use crate::{DType, Dim, Error, GraphBuilder, Shape, Value};

impl GraphBuilder {
    /// Rows of `x` (along its first dimension) at `indices`: `[indices.., x's other dimensions]`.
    ///
    /// # Errors
    /// [`Error::Node`] where `x` has no dimension or the indices are no i64.
    pub fn gather_rows(&mut self, x: &Value, indices: &Value) -> Result<Value, Error> {
        let Some((_, rest)) = x.shape().dims().split_first() else {
            return Err(self.fault("Gather", format!("x is {}", x.describe())));
        };
        if indices.dtype() != DType::I64 {
            return Err(self.fault("Gather", format!("indices are {}", indices.describe())));
        }
        let dims: Vec<Dim> = indices.shape().dims().iter().chain(rest).cloned().collect();
        let axis = vec![("axis", Attribute::Int(0))];
        Ok(self.add("Gather", &[x, indices], x.dtype(), dims, axis))
    }

    /// The `k` (`[1]` i64) largest elements of the last dimension and their i64 indices, largest
    /// first; of equal ones the lower index. `count` is how the size of the result is called.
    ///
    /// # Errors
    /// [`Error::Node`] where `x` has no dimension or `k` is not `[1]` i64.
    pub fn top_k(&mut self, x: &Value, k: &Value, count: Dim) -> Result<(Value, Value), Error> {
        let mut dims = x.shape().dims().to_vec();
        let fits = k.dtype() == DType::I64 && *k.shape() == Shape::from([1]);
        match dims.last_mut().filter(|_| fits) {
            Some(last) => *last = count,
            None => {
                let problem = format!("x is {}, k is {}", x.describe(), k.describe());
                return Err(self.fault("TopK", problem));
            }
        }
        let shape = Shape::from(dims);
        let results = vec![(x.dtype(), shape.clone()), (DType::I64, shape)];
        let attributes = vec![("axis", Attribute::Int(-1))];
        let mut both =
            self.add_node("TopK", "", &[x.name(), k.name()], results, attributes).into_iter();
        match (both.next(), both.next()) {
            (Some(values), Some(indices)) => Ok((values, indices)),
            _ => Err(self.fault("TopK", "no results")),
        }
    }

    /// Positions of the true elements of a list, in order: `[count]` i64.
    ///
    /// # Errors
    /// [`Error::Node`] where `mask` is not a list of bool.
    pub fn positions_of_true(&mut self, mask: &Value, count: &str) -> Result<Value, Error> {
        if mask.dtype() != DType::Bool || mask.shape().rank() != 1 {
            return Err(self.fault("NonZero", format!("mask is {}", mask.describe())));
        }
        let dims = vec![Dim::Fixed(1), Dim::from(count)];
        let indices = self.add("NonZero", &[mask], DType::I64, dims, vec![]);
        let zero = self.ints(&[0]);
        let list = vec![Dim::from(count)];
        Ok(self.add("Squeeze", &[&indices, &zero], DType::I64, list, vec![]))
    }

    /// The inverse of a permutation, a list of i64: `inverse[permutation[i]] = i`.
    ///
    /// # Errors
    /// [`Error::Node`] where `permutation` is not a list of i64.
    pub fn invert_permutation(&mut self, permutation: &Value) -> Result<Value, Error> {
        if permutation.dtype() != DType::I64 || permutation.shape().rank() != 1 {
            let problem = format!("permutation is {}", permutation.describe());
            return Err(self.fault("ScatterElements", problem));
        }
        let count = self.size_of(permutation, 0)?;
        let ascending = self.range(&count, permutation.shape().dims()[0].clone())?;
        let axis = vec![("axis", Attribute::Int(0))];
        let operands = [permutation, permutation, &ascending];
        let shape = permutation.shape().clone();
        Ok(self.add("ScatterElements", &operands, DType::I64, shape, axis))
    }

    /// `0, 1, .. count - 1` as a list of i64 whose size is called `size`; `count` is `[1]` i64.
    ///
    /// # Errors
    /// [`Error::Node`] where `count` is not `[1]` i64.
    pub fn range(&mut self, count: &Value, size: Dim) -> Result<Value, Error> {
        let end = self.squeeze(count, 0)?;
        let (zero, one) = (self.scalar(DType::I64, 0.0), self.scalar(DType::I64, 1.0));
        if end.dtype() != DType::I64 || end.shape().rank() != 0 {
            return Err(self.fault("Range", format!("count is {}", count.describe())));
        }
        Ok(self.add("Range", &[&zero, &end, &one], DType::I64, vec![size], vec![]))
    }
}
