//! Parts of a weight that are converted on their own.

use std::ops::Range;

use cumo_checkpoint::Tensor;
use cumo_onnx::DType;

use super::element::{self, Oddities};
use crate::weight::{Elements, Source, Weight, matrix};

/// About how many bytes a piece is written as.
pub(super) const PIECE_BYTES: usize = 3 << 20;

/// Sides of the tiles that a matrix is transposed by. A tile's f32 fit the first-level cache; one
/// column of it writes two cache lines of 16-bit weights in a row. What a row of tiles reads is
/// copied first, in stretches of the piece's width: each row of the source is another page, and
/// reading two lines of each at a time spends the time waiting for memory.
const TILE_ROWS: usize = 64;
const TILE_COLUMNS: usize = 64;

/// Rows of a weight, as the graph has it. A list is a matrix of one-element rows.
pub(super) struct Piece {
    /// The weight's index.
    pub(super) weight: usize,
    /// Bytes written.
    pub(super) num_bytes: usize,
    rows: Range<usize>,
    columns: usize,
}

/// Cuts a weight into pieces, in order.
pub(super) fn pieces(index: usize, weight: &Weight) -> impl Iterator<Item = Piece> + use<> {
    let shape = weight.shape();
    let transposed = matches!(weight.source, Source::Transposed(_));
    let (rows, columns) = match shape.as_slice() {
        [rows, columns] if transposed => (*rows, *columns),
        _ => (shape.iter().product(), 1),
    };
    let row_bytes = columns * weight.dtype.size();
    let step = (PIECE_BYTES / row_bytes.max(1)).next_multiple_of(TILE_COLUMNS).max(TILE_COLUMNS);
    (0..rows).step_by(step).map(move |start| {
        let end = (start + step).min(rows);
        let num_bytes = (end - start) * row_bytes;
        Piece { weight: index, num_bytes, rows: start..end, columns }
    })
}

impl Piece {
    /// Fills `bytes`, which has the piece's size, and gives the odd numbers in it.
    pub(super) fn convert(&self, weight: &Weight, bytes: &mut [u8]) -> Oddities {
        let mut oddities = Oddities::default();
        match &weight.source {
            Source::Joined(parts) | Source::Stacked(parts) => {
                let (mut first, mut bytes) = (0, bytes);
                for part in parts {
                    let (start, end) = (self.rows.start.max(first), self.rows.end);
                    first += part.num_elements();
                    let rows = start..end.min(first);
                    if rows.is_empty() {
                        continue;
                    }
                    let size = rows.len() * weight.dtype.size();
                    let (mine, rest) = std::mem::take(&mut bytes).split_at_mut(size);
                    let before = first - part.num_elements();
                    let elements = rows.start - before..rows.end - before;
                    copy(part, elements, weight.dtype, mine, &mut oddities);
                    bytes = rest;
                }
            }
            Source::Computed { elements, .. } => {
                self.compute(elements, weight, bytes, &mut oddities);
            }
            Source::Transposed(parts) => {
                let mut column = 0;
                for part in parts {
                    self.transpose(part, column, weight, bytes, &mut oddities);
                    column += matrix(part).0;
                }
            }
        }
        oddities
    }

    fn compute(
        &self,
        elements: &Elements,
        weight: &Weight,
        bytes: &mut [u8],
        oddities: &mut Oddities,
    ) {
        let mut values = [0f32; 1024];
        let mut next = self.rows.start;
        for bytes in bytes.chunks_mut(values.len() * weight.dtype.size()) {
            let values = &mut values[..bytes.len() / weight.dtype.size()];
            for value in values.iter_mut() {
                *value = elements.at(next);
                next += 1;
            }
            element::write(values, weight.dtype, bytes, oddities);
        }
    }

    /// Rows of the result are columns of `part` `[out, in]`, whose rows go to the result's columns
    /// from `first_column` on.
    fn transpose(
        &self,
        part: &Tensor,
        first_column: usize,
        weight: &Weight,
        bytes: &mut [u8],
        oddities: &mut Oddities,
    ) {
        let (part_rows, part_columns) = matrix(part);
        let (source, from) = (part.bytes(), part.dtype().size());
        let to = weight.dtype.size();
        let mut line = [0f32; TILE_COLUMNS];
        let mut tile = [[0f32; TILE_ROWS]; TILE_COLUMNS];
        let stretch = self.rows.len() * from;
        let mut band = Vec::with_capacity(TILE_ROWS * stretch);
        for top in (0..part_rows).step_by(TILE_ROWS) {
            let height = TILE_ROWS.min(part_rows - top);
            band.clear();
            for row in top..top + height {
                let start = (row * part_columns + self.rows.start) * from;
                // A tensor's bytes were checked to be as many as its shape asks for.
                band.extend_from_slice(&source[start..start + stretch]);
            }
            for left in self.rows.clone().step_by(TILE_COLUMNS) {
                let width = TILE_COLUMNS.min(self.rows.end - left);
                for row in 0..height {
                    let start = row * stretch + (left - self.rows.start) * from;
                    element::read(
                        &band[start..start + width * from],
                        part.dtype(),
                        &mut line[..width],
                    );
                    for (column, value) in tile.iter_mut().zip(&line[..width]) {
                        column[row] = *value;
                    }
                }
                for (index, column) in tile[..width].iter().enumerate() {
                    let row = left - self.rows.start + index;
                    let start = (row * self.columns + first_column + top) * to;
                    let out = bytes.get_mut(start..start + height * to).unwrap_or_default();
                    element::write(&column[..height], weight.dtype, out, oddities);
                }
            }
        }
    }
}

/// Writes elements of a tensor as `dtype`.
fn copy(
    tensor: &Tensor,
    elements: Range<usize>,
    dtype: DType,
    bytes: &mut [u8],
    oddities: &mut Oddities,
) {
    let size = tensor.dtype().size();
    let range = elements.start * size..elements.end * size;
    let source = tensor.bytes().get(range.clone()).unwrap_or_default();
    let mut values = [0f32; 1024];
    let chunks =
        source.chunks(values.len() * size).zip(bytes.chunks_mut(values.len() * dtype.size()));
    for (source, bytes) in chunks {
        let values = &mut values[..source.len() / size];
        element::read(source, tensor.dtype(), values);
        element::write(values, dtype, bytes, oddities);
    }
    tensor.release(range);
}
