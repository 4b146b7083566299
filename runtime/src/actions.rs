//! What a pass asks of a backend, in order.

use crate::backend::{Backend, BackendError, Buffer, Rows, StepId};

/// A part of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A step is run.
    Run(StepId),
    /// Rows that a step has made go into the cache.
    WriteRows(RowWrite),
}

/// New positions of a cache's heads, which go behind those that it holds. Each tensor lies at its
/// buffer's start, row-major and without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowWrite {
    /// What is written: `[heads, sequence, position_bytes]`.
    pub rows: Buffer,
    /// Where it goes: `[heads, pitch, position_bytes]`.
    pub cache: Buffer,
    /// Where the number of `position` lies as an i64: a device reads it there, so that a pass which
    /// was recorded is right for every position.
    pub index: Buffer,
    /// The place of the first new position of each head.
    pub position: usize,
    /// Heads, of all sequences.
    pub heads: usize,
    /// New positions of each head.
    pub sequence: usize,
    /// Positions that each head has room for.
    pub pitch: usize,
    /// Bytes of a position of a head.
    pub position_bytes: usize,
}

impl RowWrite {
    /// Refuses rows that have no place in their cache.
    ///
    /// # Errors
    /// [`BackendError::OutOfBounds`], as bytes of a head.
    pub fn check(&self) -> Result<(), BackendError> {
        let end = self.position.saturating_add(self.sequence);
        if end <= self.pitch {
            return Ok(());
        }
        let bytes = |positions: usize| positions.saturating_mul(self.position_bytes);
        let (offset, end, size) = (bytes(self.position), bytes(end), bytes(self.pitch));
        Err(BackendError::OutOfBounds { offset, end, size })
    }

    /// Has a backend copy the rows to `position`.
    ///
    /// # Errors
    /// As [`RowWrite::check`] and [`Backend::copy_rows`].
    pub fn copy<B: Backend + ?Sized>(&self, backend: &mut B) -> Result<(), BackendError> {
        self.check()?;
        let bytes = self.position_bytes;
        let new = Rows { buffer: self.rows, offset: 0, pitch: self.sequence * bytes };
        let offset = self.position * bytes;
        let cached = Rows { buffer: self.cache, offset, pitch: self.pitch * bytes };
        backend.copy_rows(new, cached, self.sequence * bytes, self.heads)
    }
}
