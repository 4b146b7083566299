//! Copies of runs of bytes that lie apart.

use crate::error::Error;
use crate::memory::DeviceBuffer;
use crate::stream::Stream;

/// Runs of bytes in a buffer, the first at its start.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    /// Where they lie.
    pub buffer: &'a DeviceBuffer,
    /// Bytes from the start of one to the start of the next.
    pub pitch: u64,
}

impl Stream {
    /// Puts a copy of `rows` runs of `row_bytes` on the stream; source and target do not overlap.
    ///
    /// # Errors
    /// [`Error::Run`] where they leave a buffer, or lie closer than they are long; [`Error::Cuda`].
    pub fn copy_rows(
        &self,
        to: Rows<'_>,
        from: Rows<'_>,
        row_bytes: usize,
        rows: usize,
    ) -> Result<(), Error> {
        if row_bytes == 0 || rows == 0 {
            return Ok(());
        }
        for side in [to, from] {
            let last = side.pitch.checked_mul(rows as u64 - 1);
            let end = last.and_then(|last| last.checked_add(row_bytes as u64));
            let inside = end.is_some_and(|end| end <= side.buffer.bytes());
            if !inside || (rows > 1 && side.pitch < row_bytes as u64) {
                let (pitch, size) = (side.pitch, side.buffer.bytes());
                let reason = format!(
                    "{rows} runs of {row_bytes} bytes, {pitch} apart, of a buffer of {size}"
                );
                return Err(Error::Run { reason });
            }
        }
        let pitch = |side: Rows<'_>| side.pitch.max(row_bytes as u64);
        self.uses(to.buffer.used());
        self.uses(from.buffer.used());
        let (target, source) = (to.buffer.address(), from.buffer.address());
        self.handle.copy_rows((target, pitch(to)), (source, pitch(from)), row_bytes, rows)
    }
}
