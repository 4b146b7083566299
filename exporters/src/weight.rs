//! Weights as a graph wants them: which tensors of the checkpoint, in which layout and type.

use std::fmt;
use std::sync::Arc;

use cumo_checkpoint::Tensor;
use cumo_onnx::DType;

/// One tensor of a graph, made of the checkpoint's tensors as it is written.
#[derive(Debug, Clone)]
pub struct Weight {
    /// Where the elements come from.
    pub source: Source,
    /// The type they are written in.
    pub dtype: DType,
}

/// Where a weight's elements come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// Tensors as they are, one behind the other along the first dimension.
    Joined(Vec<Tensor>),
    /// Matrices `[out, in]` as they are, one below the other. What has more dimensions than two
    /// counts as a matrix of rows `[out, ..]`.
    Stacked(Vec<Tensor>),
    /// Matrices `[out, in]`, one below the other, transposed to `[in, out]` for `x @ W`. What has
    /// more dimensions than two counts as a matrix of rows `[out, ..]`.
    Transposed(Vec<Tensor>),
    /// Numbers that follow from the configuration.
    Computed {
        /// The elements.
        elements: Elements,
        /// Their shape.
        shape: Vec<usize>,
    },
}

/// Numbers that are computed as they are written: a table of a long context has gigabytes.
#[derive(Clone)]
pub struct Elements(Arc<dyn Fn(usize) -> f32 + Send + Sync>);

impl Elements {
    /// Elements by their index, row-major.
    pub fn new(element: impl Fn(usize) -> f32 + Send + Sync + 'static) -> Elements {
        Elements(Arc::new(element))
    }

    /// The element of this index.
    pub fn at(&self, index: usize) -> f32 {
        self.0(index)
    }
}

impl fmt::Debug for Elements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Elements")
    }
}

impl Weight {
    /// The shape in the graph.
    pub fn shape(&self) -> Vec<usize> {
        match &self.source {
            Source::Joined(parts) => {
                let mut shape = parts.first().map_or(vec![0], |part| part.shape().to_vec());
                if let Some(first) = shape.first_mut().filter(|_| parts.len() > 1) {
                    *first = parts.iter().map(|part| part.shape().first().unwrap_or(&0)).sum();
                }
                shape
            }
            Source::Stacked(parts) => {
                let (rows, columns) = stacked(parts);
                vec![rows, columns]
            }
            Source::Transposed(parts) => {
                let (rows, columns) = stacked(parts);
                vec![columns, rows]
            }
            Source::Computed { shape, .. } => shape.clone(),
        }
    }

    /// The checkpoint's tensors it is made of.
    pub fn tensors(&self) -> &[Tensor] {
        match &self.source {
            Source::Joined(parts) | Source::Stacked(parts) | Source::Transposed(parts) => parts,
            Source::Computed { .. } => &[],
        }
    }
}

/// Rows of matrices one below the other, and the elements of each.
fn stacked(parts: &[Tensor]) -> (usize, usize) {
    let columns = parts.first().map_or(0, |part| matrix(part).1);
    (parts.iter().map(|part| matrix(part).0).sum(), columns)
}

/// Rows of a tensor of at least two dimensions, and the elements of each.
pub(crate) fn matrix(tensor: &Tensor) -> (usize, usize) {
    match tensor.shape() {
        [rows, columns @ ..] if !columns.is_empty() => (*rows, columns.iter().product()),
        _ => (0, 0),
    }
}
