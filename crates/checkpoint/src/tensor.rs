//! A tensor of a checkpoint: a name, a type, a shape, and bytes in a mapped file.

/// Element type of a checkpoint's tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// bfloat16.
    Bf16,
}

/// A view of a mapped file; cheap to clone.
#[derive(Debug, Clone)]
pub struct Tensor {}
