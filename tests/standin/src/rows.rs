//! The kernel that puts rows into a cache.

use std::ptr;

use crate::device::{Device, State};
use crate::queue::length;

/// Rows for a cache: `cache[b, h, indices[b] + s] = rows[b, h, s]`.
#[derive(Clone, Copy)]
pub(crate) struct RowWrite {
    pub(crate) rows: u64,
    pub(crate) indices: u64,
    pub(crate) cache: u64,
    pub(crate) batch: u64,
    pub(crate) heads: u64,
    pub(crate) sequence: u64,
    pub(crate) pitch: u64,
    pub(crate) position_bytes: u64,
}

impl Device {
    /// Writes the rows to where the indices say now.
    ///
    /// # Errors
    /// What is wrong with an address or an index.
    pub(crate) fn write_rows(
        &self,
        state: &mut State,
        write: &RowWrite,
    ) -> std::result::Result<(), String> {
        let RowWrite { heads, sequence, pitch, position_bytes, .. } = *write;
        let indices = read_indices(state, write)?;
        // All of the cache is the kernel's to write, wherever the rows go.
        state.memory.place_of(write.cache, write.batch * heads * pitch * position_bytes)?;
        for (batch, index) in (0..).zip(indices) {
            let start = u64::try_from(index).ok();
            let Some(start) = start.filter(|start| *start <= pitch.saturating_sub(sequence)) else {
                return Err(format!(
                    "{sequence} positions from {index} on are not all in a cache of {pitch}"
                ));
            };
            for head in batch * heads..(batch + 1) * heads {
                let from = write.rows + head * sequence * position_bytes;
                let to = write.cache + (head * pitch + start) * position_bytes;
                let done = self.copy_on_device(state, to, from, sequence * position_bytes);
                done.map_err(|why| format!("head {head}: {why}"))?;
            }
        }
        self.journal.count().row_writes += 1;
        Ok(())
    }
}

#[allow(unsafe_code, reason = "reads a place that was checked")]
fn read_indices(state: &mut State, write: &RowWrite) -> std::result::Result<Vec<i64>, String> {
    if !write.indices.is_multiple_of(8) {
        return Err(format!("indices at {:#x}, which is no multiple of 8", write.indices));
    }
    let place = state.memory.written_place_of(write.indices, write.batch * 8)?;
    let mut bytes = vec![0_u8; length(write.batch * 8)];
    // SAFETY: the place has so many bytes, which were written.
    unsafe { ptr::copy_nonoverlapping(place.as_ptr(), bytes.as_mut_ptr(), bytes.len()) };
    Ok(bytes.as_chunks::<8>().0.iter().map(|index| i64::from_ne_bytes(*index)).collect())
}
