//! Shapes whose dimensions are numbers or names.

use std::fmt;
use std::sync::Arc;

/// One dimension of a value: a number, or the name of a size known when the graph runs.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Dim {
    /// Known as the graph is built.
    Fixed(usize),
    /// Known as the graph runs. Two values with the same name have the same size.
    Symbol(Arc<str>),
}

impl Dim {
    /// The number, if it is known.
    pub fn fixed(&self) -> Option<usize> {
        match self {
            Dim::Fixed(size) => Some(*size),
            Dim::Symbol(_) => None,
        }
    }
}

impl From<usize> for Dim {
    fn from(size: usize) -> Self {
        Dim::Fixed(size)
    }
}

impl From<&str> for Dim {
    fn from(name: &str) -> Self {
        Dim::Symbol(name.into())
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dim::Fixed(size) => write!(f, "{size}"),
            Dim::Symbol(name) => f.write_str(name),
        }
    }
}

impl fmt::Debug for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A list of [`Dim`]s from numbers and names: `dims!["batch", 2, 64]`.
#[doc(hidden)]
#[macro_export]
macro_rules! __dims {
    ($($dim:expr),* $(,)?) => { vec![$($crate::Dim::from($dim)),*] };
}
pub use crate::__dims as dims;

/// The shape of a value.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Shape(Arc<[Dim]>);

impl Shape {
    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// The dimensions.
    pub fn dims(&self) -> &[Dim] {
        &self.0
    }

    /// Number of elements, if every dimension is known and the product fits.
    pub fn num_elements(&self) -> Option<usize> {
        self.0.iter().try_fold(1usize, |product, dim| product.checked_mul(dim.fixed()?))
    }

    /// The shape that two operands take together (ONNX's multidirectional broadcasting), if any.
    pub fn broadcast(&self, other: &Shape) -> Option<Shape> {
        let rank = self.rank().max(other.rank());
        let at = |shape: &Shape, axis: usize| match (axis + shape.rank()).checked_sub(rank) {
            Some(index) => shape.0[index].clone(),
            None => Dim::Fixed(1),
        };
        let merge = |axis| match (at(self, axis), at(other, axis)) {
            (left, right) if left == right => Some(left),
            (Dim::Fixed(1), dim) | (dim, Dim::Fixed(1)) => Some(dim),
            _ => None,
        };
        (0..rank).map(merge).collect::<Option<Vec<_>>>().map(Shape::from)
    }
}

impl From<Vec<Dim>> for Shape {
    fn from(dims: Vec<Dim>) -> Self {
        Shape(dims.into())
    }
}

impl From<&[usize]> for Shape {
    fn from(sizes: &[usize]) -> Self {
        Shape(sizes.iter().map(|size| Dim::Fixed(*size)).collect())
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(sizes: [usize; N]) -> Self {
        Shape::from(sizes.as_slice())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(dims: Vec<Dim>) -> Shape {
        Shape::from(dims)
    }

    #[test]
    fn ones_and_missing_dimensions_broadcast_and_symbols_only_to_themselves() {
        let a = shape(dims!["batch", 1, 64]);
        assert_eq!(a.broadcast(&shape(dims![5, 64])), Some(shape(dims!["batch", 5, 64])));
        assert_eq!(a.broadcast(&shape(dims!["images", 5, 64])), None);
        assert_eq!(a.broadcast(&shape(dims![63])), None);
    }

    #[test]
    fn the_number_of_elements_is_known_when_every_dimension_is() {
        assert_eq!(Shape::from([2, 3, 4]).num_elements(), Some(24));
        assert_eq!(shape(dims!["n", 3]).num_elements(), None);
        assert_eq!(Shape::from([usize::MAX, 2]).num_elements(), None);
    }
}
