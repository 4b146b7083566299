//! External data: where tensors lie in the file beside a model.
//!
//! See docs/ExternalData.md of the ONNX specification.

/// Tensors begin at multiples of this, so that a runtime can map each of them: a page.
pub const ALIGNMENT: u64 = 4096;

/// Offsets of tensors in an external data file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    ranges: Vec<(u64, u64)>,
}

impl Layout {
    /// Lays tensors of these sizes, in bytes, one behind the other.
    pub fn new(sizes: impl IntoIterator<Item = u64>) -> Self {
        let mut end = 0u64;
        let place = |size| {
            let offset = end.next_multiple_of(ALIGNMENT);
            end = offset + size;
            (offset, size)
        };
        Layout { ranges: sizes.into_iter().map(place).collect() }
    }

    /// Offset and length of each tensor, in bytes.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = (u64, u64)> {
        self.ranges.iter().copied()
    }

    /// Bytes of the file.
    pub fn total_bytes(&self) -> u64 {
        self.ranges.last().map_or(0, |(offset, length)| offset + length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_are_aligned_and_do_not_overlap() {
        let layout = Layout::new([10, 4096, 1, 0]);
        let ranges: Vec<_> = layout.ranges().collect();
        assert_eq!(ranges, [(0, 10), (4096, 4096), (8192, 1), (12288, 0)]);
        assert_eq!(layout.total_bytes(), 12288);
    }
}
