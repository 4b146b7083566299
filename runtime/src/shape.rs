//! Shapes with sizes that are known only when a graph runs.

use cumo_bundle::{Dim, Value, names};

use crate::error::Error;

/// The sizes of one pass, by the symbols that stand for them in the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sizes {
    /// Images in one call.
    pub(crate) images: usize,
    /// Crops of these images, of all scales.
    pub(crate) crops: usize,
    /// New positions.
    pub(crate) sequence: usize,
    /// Positions in the cache before the pass.
    pub(crate) past: usize,
    /// Positions that the cache has room for.
    pub(crate) capacity: usize,
    /// Positions of the cache that the pass looks at: a rung of the plan's ladder.
    pub(crate) attended: usize,
}

/// A size known when a graph runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Symbol {
    Images,
    Crops,
    Batch,
    Sequence,
    PastSequence,
    TotalSequence,
    MaxSequence,
    Attended,
}

/// One dimension of a [`Shape`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    Fixed(usize),
    Known(Symbol),
}

impl Size {
    /// The number. There is one sequence in a batch here.
    pub(crate) fn resolve(self, sizes: &Sizes) -> usize {
        match self {
            Size::Fixed(size) => size,
            Size::Known(Symbol::Images) => sizes.images,
            Size::Known(Symbol::Crops) => sizes.crops,
            Size::Known(Symbol::Batch) => 1,
            Size::Known(Symbol::Sequence) => sizes.sequence,
            Size::Known(Symbol::PastSequence) => sizes.past,
            Size::Known(Symbol::TotalSequence) => sizes.past + sizes.sequence,
            Size::Known(Symbol::MaxSequence) => sizes.capacity,
            Size::Known(Symbol::Attended) => sizes.attended,
        }
    }
}

/// A shape whose symbols have been looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shape(pub(crate) Vec<Size>);

impl Shape {
    /// Looks a value's symbols up.
    ///
    /// # Errors
    /// [`Error::UnknownSymbol`].
    pub(crate) fn new(graph: &str, value: &Value) -> Result<Self, Error> {
        let size = |dim: &Dim| match dim {
            Dim::Fixed(size) => Ok(Size::Fixed(*size)),
            Dim::Symbol(name) => {
                symbol(name).map(Size::Known).ok_or_else(|| Error::UnknownSymbol {
                    graph: graph.to_owned(),
                    value: value.name.clone(),
                    symbol: name.clone(),
                })
            }
        };
        value.shape.iter().map(size).collect::<Result<_, _>>().map(Shape)
    }

    /// Elements of a tensor of this shape; the largest number where they are too many to count.
    pub(crate) fn elements(&self, sizes: &Sizes) -> usize {
        self.0.iter().fold(1, |product: usize, size| product.saturating_mul(size.resolve(sizes)))
    }

    /// Whether `dims` are this shape's dimensions at the given sizes.
    pub(crate) fn is_resolved(&self, sizes: &Sizes, dims: &[usize]) -> bool {
        self.0.len() == dims.len()
            && self.0.iter().zip(dims).all(|(size, dim)| size.resolve(sizes) == *dim)
    }

    /// Writes the dimensions into `out`.
    pub(crate) fn resolve_into(&self, sizes: &Sizes, out: &mut Vec<usize>) {
        out.clear();
        out.extend(self.0.iter().map(|size| size.resolve(sizes)));
    }
}

fn symbol(name: &str) -> Option<Symbol> {
    Some(match name {
        names::IMAGES => Symbol::Images,
        names::CROPS => Symbol::Crops,
        names::BATCH => Symbol::Batch,
        names::SEQUENCE => Symbol::Sequence,
        names::PAST_SEQUENCE => Symbol::PastSequence,
        names::TOTAL_SEQUENCE => Symbol::TotalSequence,
        names::MAX_SEQUENCE => Symbol::MaxSequence,
        names::ATTENDED => Symbol::Attended,
        _ => return None,
    })
}
