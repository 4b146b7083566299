//! Sums and means over dimensions.

use crate::attribute::Attribute;
use crate::{Dim, Error, GraphBuilder, Opset, Shape, Value};

impl GraphBuilder {
    /// Mean over `axes`; reduced dimensions stay, with size 1, where `keep` is set.
    ///
    /// # Errors
    /// [`Error::Node`] where an axis is not one of `x`'s.
    pub fn reduce_mean(&mut self, x: &Value, axes: &[usize], keep: bool) -> Result<Value, Error> {
        let shape = self.reduced("ReduceMean", x, axes, keep)?;
        let list: Vec<i64> = axes.iter().map(|axis| *axis as i64).collect();
        let keepdims = ("keepdims", Attribute::Int(i64::from(keep)));
        // The axes became an operand in opset 18.
        Ok(match self.opset() {
            Opset::V17 => {
                let attributes = vec![("axes", Attribute::Ints(list)), keepdims];
                self.add("ReduceMean", &[x], x.dtype(), shape, attributes)
            }
            Opset::V24 => {
                let list = self.ints(&list);
                self.add("ReduceMean", &[x, &list], x.dtype(), shape, vec![keepdims])
            }
        })
    }

    /// Sum over `axes`; reduced dimensions stay, with size 1, where `keep` is set.
    ///
    /// # Errors
    /// [`Error::Node`] where an axis is not one of `x`'s.
    pub fn reduce_sum(&mut self, x: &Value, axes: &[usize], keep: bool) -> Result<Value, Error> {
        let shape = self.reduced("ReduceSum", x, axes, keep)?;
        let list: Vec<i64> = axes.iter().map(|axis| *axis as i64).collect();
        let list = self.ints(&list);
        let attributes = vec![("keepdims", Attribute::Int(i64::from(keep)))];
        Ok(self.add("ReduceSum", &[x, &list], x.dtype(), shape, attributes))
    }

    fn reduced(
        &self,
        op: &'static str,
        x: &Value,
        axes: &[usize],
        keep: bool,
    ) -> Result<Shape, Error> {
        if axes.iter().any(|axis| *axis >= x.shape().rank()) {
            return Err(self.fault(op, format!("axes {axes:?} of {}", x.describe())));
        }
        let keep_dim = |(axis, dim): (usize, &Dim)| match (axes.contains(&axis), keep) {
            (false, _) => Some(dim.clone()),
            (true, true) => Some(Dim::Fixed(1)),
            (true, false) => None,
        };
        let dims: Vec<Dim> = x.shape().dims().iter().enumerate().filter_map(keep_dim).collect();
        Ok(Shape::from(dims))
    }
}
