//! A file that is hashed and written while its next bytes are made: filling, hashing and writing are
//! a thread each, and blocks of memory go round between them. Who fills blocks of its own hands them
//! over whole: at gigabytes, a copy costs as much as the hash.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};

use sha2::{Digest, Sha256};

use crate::block::Block;
use crate::disk::Disk;
use crate::hash::{Sha256Hex, hex};

/// Bytes that are hashed and written at a time.
const BLOCK_BYTES: usize = 4 << 20;

/// Blocks that go round: one is filled, one hashed, one written, and one waits, so that a slow write
/// does not stop the others at once.
const NUM_BLOCKS: usize = 4;

/// A block on its way to the disk. Dropped wherever it has come to, it goes back to be filled again:
/// nobody waits for a block that a thread had when it ended.
struct Filled {
    block: Block,
    free: Sender<Block>,
}

impl Drop for Filled {
    fn drop(&mut self) {
        // Nobody fills it again once the file has ended.
        let _ = self.free.send(std::mem::take(&mut self.block));
    }
}

/// Set when a write has failed, and when a thread that holds it panics.
#[derive(Clone, Default)]
struct Failed(Arc<AtomicBool>);

impl Failed {
    fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Drop for Failed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.set();
        }
    }
}

/// A new file; what is written to it is hashed on the way. Errors of the disk are told by a later
/// call, at the latest by [`FileWriter::finish`].
pub struct FileWriter {
    /// The block that is being filled, [`BLOCK_BYTES`] long, and how far it is.
    block: Option<(Block, usize)>,
    bytes: u64,
    /// Filled blocks, on their way to the hasher. None once the file has failed or ended.
    filled: Option<Sender<Filled>>,
    /// Written blocks, to be filled again.
    free: Receiver<Block>,
    /// Where they come back.
    written: Sender<Block>,
    failed: Failed,
    hasher: Option<JoinHandle<Sha256Hex>>,
    writer: Option<JoinHandle<io::Result<()>>>,
}

impl FileWriter {
    /// Creates the file `path`, which must not exist.
    ///
    /// # Errors
    /// What the system reports.
    pub fn create(path: &Path) -> io::Result<FileWriter> {
        FileWriter::over(OpenOptions::new().write(true).create_new(true).open(path)?)
    }

    /// Writes to `file`, which is new.
    fn over(file: File) -> io::Result<FileWriter> {
        let (filled, to_hash) = channel();
        let (hashed, to_write) = channel();
        let (written, free) = channel();
        for _ in 0..NUM_BLOCKS {
            // Nobody has dropped `free`, so there is nothing to fail.
            let _ = written.send(Block::default());
        }
        let failed = Failed::default();
        let write_failed = failed.clone();
        let hash_failed = failed.clone();
        let hasher = Builder::new()
            .name("hash".to_owned())
            .spawn(move || hash(to_hash, hashed, &hash_failed))?;
        let writer = Builder::new()
            .name("write".to_owned())
            .spawn(move || write_blocks(Disk::new(file), to_write, &write_failed))?;
        Ok(FileWriter {
            block: None,
            bytes: 0,
            filled: Some(filled),
            free,
            written,
            failed,
            hasher: Some(hasher),
            writer: Some(writer),
        })
    }

    /// Waits until everything is written, and gives back the number of bytes and their hash.
    ///
    /// # Errors
    /// What the system reported for any of the writes.
    pub fn finish(mut self) -> io::Result<(u64, Sha256Hex)> {
        self.send_block()?;
        self.filled = None;
        let sha256 = self.hasher.take().map(join).ok_or_else(failed_before)?;
        self.writer.take().map(join).ok_or_else(failed_before)??;
        Ok((self.bytes, sha256))
    }

    /// Writes a block without copying it, and sends it to `free` when it is on the disk.
    ///
    /// # Errors
    /// What the system reported for any of the writes before.
    pub fn write_block(&mut self, block: Block, free: &Sender<Block>) -> io::Result<()> {
        self.send_block()?;
        self.bytes += block.bytes().len() as u64;
        self.send(Filled { block, free: free.clone() })
    }

    /// Hands the block that is being filled to the hasher.
    fn send_block(&mut self) -> io::Result<()> {
        let Some((mut block, length)) = self.block.take() else { return Ok(()) };
        block.truncate(length);
        let free = self.written.clone();
        self.send(Filled { block, free })
    }

    fn send(&mut self, filled: Filled) -> io::Result<()> {
        self.check()?;
        match self.filled.as_ref().map(|queue| queue.send(filled)) {
            Some(Ok(())) => Ok(()),
            _ => Err(self.failure()),
        }
    }

    /// Tells of a write that has failed.
    fn check(&mut self) -> io::Result<()> {
        if self.failed.is_set() { Err(self.failure()) } else { Ok(()) }
    }

    /// Why the file has failed; goes on with a thread's panic.
    fn failure(&mut self) -> io::Error {
        self.filled = None;
        self.hasher.take().map(join);
        match self.writer.take().map(join) {
            Some(Err(error)) => error,
            _ => failed_before(),
        }
    }
}

impl Write for FileWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.check()?;
        let (mut block, start) = match self.block.take() {
            Some(begun) => begun,
            None => {
                // `written` is ours, so that there is always one who sends.
                let mut block = self.free.recv().map_err(|_| failed_before())?;
                block.resize(BLOCK_BYTES);
                (block, 0)
            }
        };
        let count = bytes.len().min(BLOCK_BYTES - start);
        block.bytes_mut()[start..start + count].copy_from_slice(&bytes[..count]);
        self.bytes += count as u64;
        self.block = Some((block, start + count));
        if start + count == BLOCK_BYTES {
            self.send_block()?;
        }
        Ok(count)
    }

    /// Does nothing: blocks are handed on when they are full.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for FileWriter {
    /// Ends the threads: the file is closed afterwards.
    fn drop(&mut self) {
        self.filled = None;
        if let Some(hasher) = self.hasher.take() {
            let _ = hasher.join();
        }
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

fn failed_before() -> io::Error {
    io::Error::other("an earlier write to this file failed")
}

fn join<T>(thread: JoinHandle<T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Hashes blocks and hands them on; `_failed` is told of a panic by being dropped.
fn hash(blocks: Receiver<Filled>, hashed: Sender<Filled>, _failed: &Failed) -> Sha256Hex {
    let mut hasher = Sha256::new();
    for filled in blocks {
        hasher.update(filled.block.bytes());
        if hashed.send(filled).is_err() {
            break; // The writer has failed, and says why itself.
        }
    }
    hex(&hasher.finalize())
}

/// Writes blocks in order, which go back, and brings all to the disk. After a failure blocks only go
/// back.
fn write_blocks(mut disk: Disk, blocks: Receiver<Filled>, failed: &Failed) -> io::Result<()> {
    let mut outcome = Ok(());
    for filled in blocks {
        if outcome.is_ok() {
            outcome = disk.write_block(&filled.block);
            if outcome.is_err() {
                failed.set();
            }
        }
    }
    outcome.and_then(|()| disk.sync())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::ALIGNMENT;
    use crate::disk::DIRECT_FROM;
    use crate::hash::hash_reader;

    fn bytes(count: usize) -> Vec<u8> {
        (0..count).map(|index| (index % 251) as u8).collect()
    }

    /// Writes `content` in pieces of `piece` bytes and reads it back.
    fn round_trip(content: &[u8], piece: usize) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut writer = FileWriter::create(&path).unwrap();
        content.chunks(piece).for_each(|piece| writer.write_all(piece).unwrap());
        let (count, sha256) = writer.finish().unwrap();
        assert_eq!(count, content.len() as u64);
        assert_eq!(sha256, hash_reader(content, |_| ()).unwrap());
        assert!(std::fs::read(&path).unwrap() == content, "{} bytes", content.len());
    }

    #[test]
    fn blocks_that_are_handed_over_and_written_bytes_are_in_the_order_of_the_calls() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut writer = FileWriter::create(&path).unwrap();
        let (free, back) = channel();
        let content = bytes(DIRECT_FROM as usize + 40 * ALIGNMENT + 7);
        let (mut rest, mut step) = (content.as_slice(), 0);
        while !rest.is_empty() {
            // Aligned and odd lengths, and a few bytes between them now and then.
            let length = [3 << 20, 2 * ALIGNMENT, 4097, 1][step % 4].min(rest.len());
            let (taken, after) = rest.split_at(length);
            if step % 5 == 3 {
                writer.write_all(taken).unwrap();
            } else {
                let mut block = if step < 6 { Block::default() } else { back.recv().unwrap() };
                block.resize(length);
                block.bytes_mut().copy_from_slice(taken);
                writer.write_block(block, &free).unwrap();
            }
            (rest, step) = (after, step + 1);
        }
        let (count, sha256) = writer.finish().unwrap();
        assert_eq!(count, content.len() as u64);
        assert_eq!(sha256, hash_reader(&content[..], |_| ()).unwrap());
        assert!(std::fs::read(&path).unwrap() == content);
    }

    #[test]
    fn the_hash_is_sha256_of_all_bytes_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = FileWriter::create(&folder.path().join("file")).unwrap();
        writer.write_all(b"a").unwrap();
        writer.write_all(b"bc").unwrap();
        // FIPS 180-2, appendix B.1.
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(writer.finish().unwrap(), (3, sha256.to_owned()));
    }

    #[test]
    fn what_is_written_is_in_the_file_at_every_size() {
        for count in [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES] {
            round_trip(&bytes(count), 1_000_003);
        }
        // Far enough for direct writes, with an end that no direct write could have.
        let direct = DIRECT_FROM as usize + 3 * BLOCK_BYTES;
        round_trip(&bytes(direct), 3 << 20);
        round_trip(&bytes(direct + 4097), 5_000_000);
    }

    /// A disk that is full answers every write so.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_failed_write_is_told_with_the_systems_reason_and_blocks_come_back() {
        let (send, blocks) = channel();
        let (free, back) = channel();
        for _ in 0..2 {
            let mut block = Block::default();
            block.resize(3);
            send.send(Filled { block, free: free.clone() }).unwrap();
        }
        drop((send, free));
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let error = write_blocks(Disk::new(full), blocks, &Failed::default()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(back.iter().count(), 2);
    }

    /// What `work` gives, or its panic; it has a minute, so that a hang fails instead of hanging.
    fn in_time<T: Send + 'static>(
        work: impl FnOnce() -> T + Send + 'static,
    ) -> std::thread::Result<T> {
        let (send, outcome) = channel();
        std::thread::spawn(move || {
            let work = std::panic::AssertUnwindSafe(work);
            send.send(std::panic::catch_unwind(work)).unwrap();
        });
        outcome.recv_timeout(std::time::Duration::from_secs(60)).expect("hangs")
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_told_through_the_file_writer() {
        let full = || FileWriter::over(File::options().write(true).open("/dev/full").unwrap());
        let copied = in_time(move || {
            let mut writer = full()?;
            writer.write_all(&bytes(20 * BLOCK_BYTES))?;
            writer.finish()
        });
        assert_eq!(copied.unwrap().unwrap_err().kind(), io::ErrorKind::StorageFull);
        let handed_over = in_time(move || {
            let (free, back) = channel();
            free.send(Block::default()).unwrap();
            let mut writer = full()?;
            for _ in 0..20 {
                let mut block = back.recv().unwrap();
                block.resize(BLOCK_BYTES);
                writer.write_block(block, &free)?;
            }
            writer.finish()
        });
        assert_eq!(handed_over.unwrap().unwrap_err().kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn a_panic_of_the_hashing_thread_goes_on_in_the_caller() {
        let outcome = in_time(|| {
            let folder = tempfile::tempdir().unwrap();
            let mut writer = FileWriter::create(&folder.path().join("file")).unwrap();
            let (free, back) = channel();
            writer.write_block(Block::broken(), &free).unwrap();
            back.recv().unwrap();
            writer.write_all(&bytes(20 * BLOCK_BYTES)).unwrap();
        });
        let panic = outcome.unwrap_err();
        let message = panic.downcast_ref::<String>().unwrap();
        assert!(message.contains("range end index 1 out of range"), "{message}");
    }

    #[test]
    fn a_panic_of_the_writing_thread_is_a_failure_and_blocks_come_back() {
        let (send, blocks) = channel();
        let (free, back) = channel();
        for block in [Block::broken(), Block::default()] {
            send.send(Filled { block, free: free.clone() }).unwrap();
        }
        drop((send, free));
        let disk = Disk::new(tempfile::tempfile().unwrap());
        let failed = Failed::default();
        let held = failed.clone();
        assert!(in_time(move || write_blocks(disk, blocks, &held)).is_err());
        assert!(failed.is_set());
        assert_eq!(back.iter().count(), 2);
    }

    #[test]
    fn writing_on_after_a_failure_fails_and_does_not_hang() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = FileWriter::create(&folder.path().join("file")).unwrap();
        writer.failed.set();
        let error = writer.write_all(&bytes(20 * BLOCK_BYTES)).unwrap_err();
        assert!(error.to_string().contains("earlier write"), "{error}");
        assert!(writer.write_block(Block::default(), &channel().0).is_err());
        assert!(writer.finish().is_err());
    }

    #[test]
    fn dropped_halfway_it_ends_its_threads() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = FileWriter::create(&folder.path().join("file")).unwrap();
        writer.write_all(&bytes(3 * BLOCK_BYTES + 5)).unwrap();
        drop(writer);
    }
}
