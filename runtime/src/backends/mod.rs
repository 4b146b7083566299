//! What implements [`crate::backend::Backend`].

pub mod ort;
