//! A tensor of a checkpoint: a name, a type, a shape, and bytes in a mapped file.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::mapped_file::MappedFile;

/// Element type of a tensor that inference needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dtype {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// bfloat16.
    Bf16,
}

impl Dtype {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Dtype::F32 => 4,
            Dtype::F16 | Dtype::Bf16 => 2,
        }
    }

    /// The name in lower case: `f32`, `f16`, `bf16`.
    pub fn name(self) -> &'static str {
        match self {
            Dtype::F32 => "f32",
            Dtype::F16 => "f16",
            Dtype::Bf16 => "bf16",
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Element type as files have it; more than inference takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Element {
    /// Name in lower case, `f32`.
    pub(crate) name: &'static str,
    /// Bytes of one element.
    pub(crate) size: usize,
}

impl Element {
    /// Every type that a checkpoint's file may hold, by its safetensors name in lower case.
    const ALL: [Element; 17] = [
        Element { name: "bool", size: 1 },
        Element { name: "u8", size: 1 },
        Element { name: "i8", size: 1 },
        Element { name: "f8_e5m2", size: 1 },
        Element { name: "f8_e4m3", size: 1 },
        Element { name: "f8_e8m0", size: 1 },
        Element { name: "u16", size: 2 },
        Element { name: "i16", size: 2 },
        Element { name: "f16", size: 2 },
        Element { name: "bf16", size: 2 },
        Element { name: "u32", size: 4 },
        Element { name: "i32", size: 4 },
        Element { name: "f32", size: 4 },
        Element { name: "u64", size: 8 },
        Element { name: "i64", size: 8 },
        Element { name: "f64", size: 8 },
        Element { name: "c64", size: 8 },
    ];

    /// The type called `name` in lower or upper case.
    pub(crate) fn named(name: &str) -> Option<Element> {
        Self::ALL.into_iter().find(|element| element.name.eq_ignore_ascii_case(name))
    }

    /// The type as inference takes it; none for integers and other floats.
    pub(crate) fn dtype(self) -> Option<Dtype> {
        match self.name {
            "f32" => Some(Dtype::F32),
            "f16" => Some(Dtype::F16),
            "bf16" => Some(Dtype::Bf16),
            _ => None,
        }
    }
}

/// A tensor as a file has it: its range was checked to lie in the file and to have exactly the
/// bytes that shape and type ask for.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) name: String,
    pub(crate) element: Element,
    pub(crate) shape: Vec<usize>,
    pub(crate) file: Arc<MappedFile>,
    pub(crate) range: Range<usize>,
}

/// Dimensions that a tensor may have.
pub(crate) const MAX_RANK: usize = 16;

/// Tensors that a file may have. Models with thousands of experts have about 100,000.
pub(crate) const MAX_TENSORS: usize = 1 << 18;

/// Whether `name` can be a tensor's: short enough for a message, and without control characters,
/// which could make a terminal show something else.
pub(crate) fn is_name(name: &str) -> bool {
    name.len() <= 1000 && !name.chars().any(char::is_control)
}

/// Bytes of a tensor of `shape`; none where the number does not fit.
pub(crate) fn num_bytes(shape: &[usize], element: Element) -> Option<usize> {
    shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?.checked_mul(element.size)
}

/// A tensor that inference needs: a view of a mapped file; cheap to clone.
#[derive(Debug, Clone)]
pub struct Tensor(Arc<View>);

#[derive(Debug)]
struct View {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    file: Arc<MappedFile>,
    range: Range<usize>,
}

impl Tensor {
    /// A view of `stored` under the name that the whole checkpoint's folder has for it.
    pub(crate) fn new(name: String, dtype: Dtype, stored: Stored) -> Self {
        let Stored { shape, file, range, .. } = stored;
        Self(Arc::new(View { name, dtype, shape, file, range }))
    }

    /// Stands for a tensor that is missing until the model is refused for it.
    pub(crate) fn missing() -> Self {
        let file = Arc::new(MappedFile::empty());
        let (name, shape) = (String::new(), vec![0]);
        Self(Arc::new(View { name, dtype: Dtype::F32, shape, file, range: 0..0 }))
    }

    /// A tensor of this shape, of which there is nothing else.
    pub(crate) fn imagined(name: String, shape: &[usize]) -> Self {
        let file = Arc::new(MappedFile::empty());
        Self(Arc::new(View { name, dtype: Dtype::F16, shape: shape.to_vec(), file, range: 0..0 }))
    }

    /// Name in a whole checkpoint (`model.layers.0.mlp.up_proj.weight`), also where the file that
    /// it comes from has it under another prefix.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Element type.
    pub fn dtype(&self) -> Dtype {
        self.0.dtype
    }

    /// Sizes, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    /// The elements: little endian, row-major, contiguous; not necessarily aligned.
    pub fn bytes(&self) -> &[u8] {
        self.0.file.bytes().get(self.0.range.clone()).unwrap_or_default()
    }

    /// Number of elements.
    pub fn num_elements(&self) -> usize {
        self.num_bytes() / self.0.dtype.size()
    }

    /// Number of bytes.
    pub fn num_bytes(&self) -> usize {
        self.0.range.len()
    }

    /// The file that holds the bytes.
    pub fn file(&self) -> &Path {
        self.0.file.path()
    }

    /// Tells the system that the tensor will be read soon, so that it comes from the disk while
    /// this process does other work.
    pub fn prefetch(&self) {
        self.0.file.prefetch(self.0.range.clone());
    }

    /// Tells the system that the pages that hold `range` (in bytes of this tensor) are not needed
    /// in memory any more, so that memory stays bounded by what is being read. Bytes that are
    /// read again are brought in again. What lies beyond the tensor is ignored.
    pub fn release(&self, range: Range<usize>) {
        let start = self.0.range.start.saturating_add(range.start).min(self.0.range.end);
        let end = self.0.range.start.saturating_add(range.end).min(self.0.range.end);
        self.0.file.release(start..end);
    }
}

/// A tensor that is in the checkpoint and not needed at inference.
#[derive(Debug, Clone)]
pub struct UnusedTensor {
    stored: Stored,
}

impl UnusedTensor {
    pub(crate) fn new(stored: Stored) -> Self {
        Self { stored }
    }

    /// Name as in its file.
    pub fn name(&self) -> &str {
        &self.stored.name
    }

    /// Name of the element type in lower case (`f32`, `i64`).
    pub fn dtype(&self) -> &'static str {
        self.stored.element.name
    }

    /// Sizes, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.stored.shape
    }

    /// Number of elements.
    pub fn num_elements(&self) -> usize {
        self.stored.range.len() / self.stored.element.size
    }

    /// Number of bytes.
    pub fn num_bytes(&self) -> usize {
        self.stored.range.len()
    }

    /// The file that holds the bytes.
    pub fn file(&self) -> &Path {
        self.stored.file.path()
    }
}
