//! Operators that move elements or ask for sizes.

use crate::attribute::Attribute;
use crate::{DType, Dim, Error, GraphBuilder, Shape, Value};

/// One dimension of a reshaped value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// The dimension at the same place.
    Keep,
    /// A known size.
    Size(usize),
    /// Whatever is left, which the caller names; once at most.
    Rest(Dim),
}

impl GraphBuilder {
    /// The same elements in another shape.
    ///
    /// # Errors
    /// [`Error::Node`] where the known sizes do not multiply to the same number of elements, or
    /// the rest is named a number that is not left.
    pub fn reshape(&mut self, x: &Value, to: &[To]) -> Result<Value, Error> {
        let shape = match reshaped(x.shape(), to) {
            Ok(shape) => shape,
            Err(problem) => {
                let problem = format!("{} to {to:?}: {problem}", x.describe());
                return Err(self.fault("Reshape", problem));
            }
        };
        let target: Vec<i64> = to
            .iter()
            .map(|to| match to {
                To::Keep => 0,
                To::Size(size) => *size as i64,
                To::Rest(_) => -1,
            })
            .collect();
        let target = self.ints(&target);
        Ok(self.add("Reshape", &[x, &target], x.dtype(), shape, vec![]))
    }

    /// Reshapes to a shape that is itself computed: `target` is a list of i64, and `shape` what
    /// the caller knows it to be.
    ///
    /// # Errors
    /// [`Error::Node`] where `target` has not one number for each dimension of `shape`.
    pub fn reshape_to(
        &mut self,
        x: &Value,
        target: &Value,
        shape: impl Into<Shape>,
    ) -> Result<Value, Error> {
        let shape = shape.into();
        let expected = Shape::from([shape.rank()]);
        if target.dtype() != DType::I64 || *target.shape() != expected {
            let problem = format!("to {shape} by {}", target.describe());
            return Err(self.fault("Reshape", problem));
        }
        // A computed zero is a size of zero, not a size to keep.
        let attributes = vec![("allowzero", Attribute::Int(1))];
        Ok(self.add("Reshape", &[x, target], x.dtype(), shape, attributes))
    }

    /// Dimensions in another order: dimension `i` of the result is `order[i]` of `x`.
    ///
    /// # Errors
    /// [`Error::Node`] where `order` is no permutation of `x`'s dimensions.
    pub fn transpose(&mut self, x: &Value, order: &[usize]) -> Result<Value, Error> {
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..x.shape().rank()) {
            return Err(self.fault("Transpose", format!("{} by {order:?}", x.describe())));
        }
        let dims: Vec<Dim> = order.iter().map(|axis| x.shape().dims()[*axis].clone()).collect();
        let list = order.iter().map(|axis| *axis as i64).collect();
        let perm = vec![("perm", Attribute::Ints(list))];
        Ok(self.add("Transpose", &[x], x.dtype(), dims, perm))
    }

    /// Values one behind the other along `axis`; `size` is how the result's size there is called.
    ///
    /// # Errors
    /// [`Error::Node`] where types or other dimensions differ, or `size` is a number and not the
    /// sum.
    pub fn concat(&mut self, parts: &[&Value], axis: usize, size: Dim) -> Result<Value, Error> {
        let first = match parts.first() {
            Some(first) if axis < first.shape().rank() => *first,
            _ => return Err(self.fault("Concat", format!("axis {axis} of {} parts", parts.len()))),
        };
        let others = |value: &Value| {
            let mut dims = value.shape().dims().to_vec();
            if axis < dims.len() {
                dims.remove(axis);
            }
            dims
        };
        if let Some(odd) =
            parts.iter().find(|part| part.dtype() != first.dtype() || others(part) != others(first))
        {
            let problem = format!("{} with {} on axis {axis}", first.describe(), odd.describe());
            return Err(self.fault("Concat", problem));
        }
        let known: Option<usize> = parts.iter().map(|part| part.shape().dims()[axis].fixed()).sum();
        if known.is_some_and(|sum| size.fixed() != Some(sum)) {
            let problem = format!("the sizes on axis {axis} add to {known:?}, not {size}");
            return Err(self.fault("Concat", problem));
        }
        let mut dims = first.shape().dims().to_vec();
        dims[axis] = size;
        let attributes = vec![("axis", Attribute::Int(axis as i64))];
        Ok(self.add("Concat", parts, first.dtype(), dims, attributes))
    }

    /// Elements `from..to` of dimension `axis`; to the end where `to` is none. `size` is how the
    /// result's size there is called.
    ///
    /// # Errors
    /// [`Error::Node`] where the dimension is a number and the slice is not within it, or `size`
    /// is a number and not the slice's.
    pub fn slice(
        &mut self,
        x: &Value,
        axis: usize,
        (from, to): (usize, Option<usize>),
        size: Dim,
    ) -> Result<Value, Error> {
        let Some(dim) = x.shape().dims().get(axis) else {
            return Err(self.fault("Slice", format!("axis {axis} of {}", x.describe())));
        };
        if let Some(all) = dim.fixed() {
            let end = to.unwrap_or(all);
            if end > all || from > end || size != Dim::Fixed(end - from) {
                let problem =
                    format!("{from}..{end} of axis {axis} of {}, called {size}", x.describe());
                return Err(self.fault("Slice", problem));
            }
        }
        let mut dims = x.shape().dims().to_vec();
        dims[axis] = size;
        let end = to.map_or(i64::MAX, |to| to as i64);
        let (from, end) = (self.ints(&[from as i64]), self.ints(&[end]));
        let axis = self.ints(&[axis as i64]);
        Ok(self.add("Slice", &[x, &from, &end, &axis], x.dtype(), dims, vec![]))
    }

    /// Elements `0..end` of dimension `axis`, or `end..` where `behind` is set; `end` is `[1]` i64,
    /// and `size` how the result's size there is called.
    ///
    /// # Errors
    /// [`Error::Node`] where `x` has no such dimension or `end` is not `[1]` i64.
    pub fn slice_at(
        &mut self,
        x: &Value,
        axis: usize,
        (end, behind): (&Value, bool),
        size: Dim,
    ) -> Result<Value, Error> {
        let fits = end.dtype() == DType::I64 && *end.shape() == Shape::from([1]);
        if axis >= x.shape().rank() || !fits {
            let problem = format!("axis {axis} of {} at {}", x.describe(), end.describe());
            return Err(self.fault("Slice", problem));
        }
        let mut dims = x.shape().dims().to_vec();
        dims[axis] = size;
        let axis = self.ints(&[axis as i64]);
        let bound = self.ints(&[if behind { i64::MAX } else { 0 }]);
        let (from, to) = if behind { (end, &bound) } else { (&bound, end) };
        Ok(self.add("Slice", &[x, from, to, &axis], x.dtype(), dims, vec![]))
    }

    /// The last element of dimension `axis`, which stays, with size 1.
    ///
    /// # Errors
    /// [`Error::Node`] where `x` has no such dimension.
    pub fn last(&mut self, x: &Value, axis: usize) -> Result<Value, Error> {
        if axis >= x.shape().rank() {
            return Err(self.fault("Slice", format!("axis {axis} of {}", x.describe())));
        }
        let mut dims = x.shape().dims().to_vec();
        dims[axis] = Dim::Fixed(1);
        let (from, to) = (self.ints(&[-1]), self.ints(&[i64::MAX]));
        let axis = self.ints(&[axis as i64]);
        Ok(self.add("Slice", &[x, &from, &to, &axis], x.dtype(), dims, vec![]))
    }

    /// Dimension `axis` of `x` cut into parts of these sizes.
    ///
    /// # Errors
    /// [`Error::Node`] where the sizes do not add to the dimension's.
    pub fn split(&mut self, x: &Value, axis: usize, sizes: &[usize]) -> Result<Vec<Value>, Error> {
        let whole = x.shape().dims().get(axis).and_then(Dim::fixed);
        if whole != Some(sizes.iter().sum()) {
            let problem = format!("{sizes:?} on axis {axis} of {}", x.describe());
            return Err(self.fault("Split", problem));
        }
        let results = sizes.iter().map(|size| {
            let mut dims = x.shape().dims().to_vec();
            dims[axis] = Dim::Fixed(*size);
            (x.dtype(), Shape::from(dims))
        });
        let results = results.collect();
        let list = self.ints(&sizes.iter().map(|size| *size as i64).collect::<Vec<_>>());
        let axis = vec![("axis", Attribute::Int(axis as i64))];
        Ok(self.add_node("Split", "", &[x.name(), list.name()], results, axis))
    }

    /// Removes dimension `axis`, of size 1.
    ///
    /// # Errors
    /// [`Error::Node`] where the dimension's size is not 1.
    pub fn squeeze(&mut self, x: &Value, axis: usize) -> Result<Value, Error> {
        if x.shape().dims().get(axis) != Some(&Dim::Fixed(1)) {
            return Err(self.fault("Squeeze", format!("axis {axis} of {}", x.describe())));
        }
        let mut dims = x.shape().dims().to_vec();
        dims.remove(axis);
        let axis = self.ints(&[axis as i64]);
        Ok(self.add("Squeeze", &[x, &axis], x.dtype(), dims, vec![]))
    }

    /// Puts dimensions of size 1 at `axes` of the result.
    ///
    /// # Errors
    /// [`Error::Node`] where an axis is beyond the result's dimensions.
    pub fn unsqueeze(&mut self, x: &Value, axes: &[usize]) -> Result<Value, Error> {
        let mut dims = x.shape().dims().to_vec();
        for axis in axes {
            if *axis > dims.len() {
                let problem = format!("axes {axes:?} of {}", x.describe());
                return Err(self.fault("Unsqueeze", problem));
            }
            dims.insert(*axis, Dim::Fixed(1));
        }
        let list: Vec<i64> = axes.iter().map(|axis| *axis as i64).collect();
        let list = self.ints(&list);
        Ok(self.add("Unsqueeze", &[x, &list], x.dtype(), dims, vec![]))
    }

    /// Repeats dimensions of size 1: `target` is a list of i64, `shape` what it is known to be.
    ///
    /// # Errors
    /// [`Error::Node`] where `x` does not broadcast to `shape`.
    pub fn expand(
        &mut self,
        x: &Value,
        target: &Value,
        shape: impl Into<Shape>,
    ) -> Result<Value, Error> {
        let shape = shape.into();
        if x.shape().broadcast(&shape).as_ref() != Some(&shape) {
            return Err(self.fault("Expand", format!("{} to {shape}", x.describe())));
        }
        Ok(self.add("Expand", &[x, target], x.dtype(), shape, vec![]))
    }

    /// All sizes of `x` as a list of i64.
    pub fn shape_of(&mut self, x: &Value) -> Value {
        self.add("Shape", &[x], DType::I64, [x.shape().rank()], vec![])
    }

    /// The size of one dimension of `x`, `[1]` i64.
    ///
    /// # Errors
    /// [`Error::Node`] where `x` has no such dimension.
    pub fn size_of(&mut self, x: &Value, axis: usize) -> Result<Value, Error> {
        if axis >= x.shape().rank() {
            return Err(self.fault("Shape", format!("axis {axis} of {}", x.describe())));
        }
        let bounds =
            vec![("start", Attribute::Int(axis as i64)), ("end", Attribute::Int(axis as i64 + 1))];
        Ok(self.add("Shape", &[x], DType::I64, [1], bounds))
    }

    /// The sizes of the dimensions of `x` before the last one, as a list of i64.
    ///
    /// # Errors
    /// [`Error::Node`] where `x` has no dimension.
    pub fn leading_sizes_of(&mut self, x: &Value) -> Result<Value, Error> {
        let Some(count) = x.shape().rank().checked_sub(1) else {
            return Err(self.fault("Shape", format!("all but the last of {}", x.describe())));
        };
        let bounds = vec![("start", Attribute::Int(0)), ("end", Attribute::Int(count as i64))];
        Ok(self.add("Shape", &[x], DType::I64, [count], bounds))
    }
}

fn reshaped(from: &Shape, to: &[To]) -> Result<Shape, String> {
    let mut dims = Vec::with_capacity(to.len());
    for (axis, to) in to.iter().enumerate() {
        dims.push(match to {
            To::Keep => from.dims().get(axis).ok_or("there is no such dimension to keep")?.clone(),
            To::Size(size) => Dim::Fixed(*size),
            To::Rest(dim) => dim.clone(),
        });
    }
    let shape = Shape::from(dims);
    let rests = to.iter().filter(|to| matches!(to, To::Rest(_))).count();
    if rests > 1 {
        return Err("more than one rest".to_owned());
    }
    if rests == 0 && !same_elements(from, &shape) {
        return Err("the number of elements differs".to_owned());
    }
    let all_known = (from.num_elements(), shape.num_elements());
    if let (Some(before), Some(after)) = all_known
        && before != after
    {
        return Err(format!("{before} elements become {after}"));
    }
    Ok(shape)
}

/// Whether two shapes have as many elements, for sizes known and unknown.
fn same_elements(a: &Shape, b: &Shape) -> bool {
    let parts = |shape: &Shape| {
        let fixed = shape.dims().iter().filter_map(Dim::fixed).product::<usize>();
        let mut symbols: Vec<String> = shape
            .dims()
            .iter()
            .filter(|dim| dim.fixed().is_none())
            .map(|dim| dim.to_string())
            .collect();
        symbols.sort_unstable();
        (fixed, symbols)
    };
    parts(a) == parts(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dims;

    #[test]
    fn parts_add_to_the_whole() {
        let mut g = GraphBuilder::new();
        let x = g.input("x", DType::F16, dims!["batch", 12]).unwrap();
        let parts = g.split(&x, 1, &[8, 4]).unwrap();
        let shapes: Vec<_> = parts.iter().map(|part| part.shape().clone()).collect();
        assert_eq!(shapes, [dims!["batch", 8], dims!["batch", 4]].map(Shape::from));
        assert!(g.split(&x, 1, &[8, 5]).is_err());
        assert!(g.split(&x, 0, &[8, 4]).is_err());
    }

    #[test]
    fn a_slice_at_a_computed_place_is_called_as_the_caller_knows_it() {
        let mut g = GraphBuilder::new();
        let x = g.input("x", DType::F16, dims!["batch", "max"]).unwrap();
        let end = g.size_of(&x, 0).unwrap();
        let cut = g.slice_at(&x, 1, (&end, false), "end".into()).unwrap();
        assert_eq!(cut.shape(), &Shape::from(dims!["batch", "end"]));
        assert_eq!(g.last(&cut, 1).unwrap().shape(), &Shape::from(dims!["batch", 1]));
        assert!(g.slice_at(&x, 2, (&end, false), "end".into()).is_err());
    }
}
