//! The way between the host's memory and the device's.

use crate::error::Error;
use crate::handle::PinnedHandle;
use crate::memory::DeviceBuffer;
use crate::runtime::Runtime;
use crate::stream::{Event, Stream};

/// Where a piece may begin.
const ALIGNMENT: usize = 256;

/// Two blocks of pinned memory through which bytes go to the device: while it copies one, the
/// other is filled. Small pieces lie one behind another in a block, so that they wait for nothing.
pub struct Staging {
    blocks: [Block; 2],
    current: usize,
    /// Bytes of the current block that are used.
    used: usize,
    /// What was read last, where it is larger than a block.
    large: Vec<u8>,
}

struct Block {
    memory: PinnedHandle,
    /// The end of the last copy of this block.
    copied: Event,
    is_pending: bool,
}

impl Staging {
    /// Two blocks of `block_bytes` each.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; [`Error::Cuda`].
    pub fn new(runtime: &Runtime, block_bytes: usize) -> Result<Self, Error> {
        let bytes = block_bytes.max(1).next_multiple_of(ALIGNMENT);
        let block = || {
            let memory = PinnedHandle::alloc(runtime.handle.clone(), bytes)?;
            Ok::<_, Error>(Block { memory, copied: runtime.event()?, is_pending: false })
        };
        Ok(Staging { blocks: [block()?, block()?], current: 0, used: 0, large: Vec::new() })
    }

    /// Puts a copy of bytes to the start of a buffer on a stream. They are taken before this
    /// returns; the device may have them later.
    ///
    /// # Errors
    /// [`Error::Run`] where they do not fit; [`Error::Cuda`].
    pub fn write(&mut self, stream: &Stream, to: &DeviceBuffer, from: &[u8]) -> Result<(), Error> {
        to.holds(from.len())?;
        let mut rest = from;
        self.fill(stream, &to.slice(0, from.len() as u64)?, &mut |piece| {
            let (now, later) = rest.split_at(piece.len().min(rest.len()));
            piece.copy_from_slice(now);
            rest = later;
            Ok::<_, Error>(())
        })
    }

    /// Fills a buffer with what `source` writes, a piece after another.
    ///
    /// # Errors
    /// What `source` fails with; [`Error::Cuda`]. A part of the buffer may then be filled.
    pub fn fill<E: From<Error>>(
        &mut self,
        stream: &Stream,
        to: &DeviceBuffer,
        source: &mut dyn FnMut(&mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        stream.not_while_captured("copy from the host")?;
        stream.uses(to.used());
        let mut done = 0;
        while done < to.bytes() {
            let wanted = usize::try_from(to.bytes() - done).unwrap_or(usize::MAX);
            let (offset, bytes) = self.room(wanted)?;
            let block = &mut self.blocks[self.current];
            let piece = block.memory.piece(offset, bytes);
            source(piece.ok_or_else(|| Error::Internal { reason: "no room".to_owned() })?)?;
            block.upload(stream, to.address() + done, offset, bytes)?;
            done += bytes as u64;
        }
        Ok(())
    }

    /// The bytes of a buffer, once all that was put on the stream is done. Not for use while a
    /// graph is captured.
    ///
    /// # Errors
    /// [`Error::Cuda`], also of work that was on the stream; [`Error::OutOfMemory`] of the host's.
    pub fn read(&mut self, stream: &Stream, from: &DeviceBuffer) -> Result<&[u8], Error> {
        stream.not_while_captured("copy to the host")?;
        let bytes = usize::try_from(from.bytes()).unwrap_or(usize::MAX);
        if bytes > self.blocks[0].memory.bytes() {
            self.large.clear();
            self.large.try_reserve_exact(bytes).map_err(|_| Error::OutOfMemory {
                reason: format!("the host has no {bytes} bytes left to read into"),
            })?;
            self.large.resize(bytes, 0);
            stream.read(&mut self.large, from)?;
            return Ok(&self.large);
        }
        if self.blocks[self.current].memory.bytes() - self.used < bytes {
            self.turn()?;
        }
        let offset = self.used;
        self.take(bytes);
        stream.uses(from.used());
        let block = &mut self.blocks[self.current];
        block.download(stream, from.address(), offset, bytes)?;
        stream.synchronize()?;
        // All that was on the stream is done, the copies of both blocks among it.
        block.is_pending = false;
        let piece = block.memory.piece(offset, bytes);
        piece.map(|piece| &*piece).ok_or_else(|| Error::Internal { reason: "no room".to_owned() })
    }

    /// A piece of at most `wanted` bytes of the current block, or of the other where that is full.
    fn room(&mut self, wanted: usize) -> Result<(usize, usize), Error> {
        let left = self.blocks[self.current].memory.bytes() - self.used;
        // A piece that fits into a block is not cut.
        if left == 0 || (left < wanted && self.used > 0) {
            self.turn()?;
        }
        let offset = self.used;
        let bytes = wanted.min(self.blocks[self.current].memory.bytes() - offset);
        self.take(bytes);
        Ok((offset, bytes))
    }

    fn take(&mut self, bytes: usize) {
        let end = self.used + bytes.next_multiple_of(ALIGNMENT);
        self.used = end.min(self.blocks[self.current].memory.bytes());
    }

    /// Goes on with the other block, when the device has copied it.
    fn turn(&mut self) -> Result<(), Error> {
        self.current = 1 - self.current;
        self.used = 0;
        self.blocks[self.current].wait()
    }
}

impl Block {
    fn upload(
        &mut self,
        stream: &Stream,
        to: u64,
        offset: usize,
        bytes: usize,
    ) -> Result<(), Error> {
        self.after_others(stream)?;
        self.memory.upload(&stream.handle, to, offset, bytes)?;
        self.note(stream)
    }

    fn download(
        &mut self,
        stream: &Stream,
        from: u64,
        offset: usize,
        bytes: usize,
    ) -> Result<(), Error> {
        self.after_others(stream)?;
        self.memory.download(&stream.handle, from, offset, bytes)?;
        self.note(stream)
    }

    /// Copies of another stream come before those of this one, so that one event stands for both.
    fn after_others(&self, stream: &Stream) -> Result<(), Error> {
        if self.is_pending { stream.wait(&self.copied) } else { Ok(()) }
    }

    fn note(&mut self, stream: &Stream) -> Result<(), Error> {
        self.is_pending = true;
        if let Err(error) = self.copied.record(stream) {
            // Nothing stands for the copy: it is waited for as it is.
            drop(stream.synchronize());
            return Err(error);
        }
        Ok(())
    }

    fn wait(&mut self) -> Result<(), Error> {
        if self.is_pending {
            self.copied.synchronize()?;
            self.is_pending = false;
        }
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        for block in &mut self.blocks {
            // Where waiting fails, the device is lost and copies nothing more.
            drop(block.wait());
        }
    }
}
