//! The file that blocks are written to, past the page cache where that helps.

use std::fs::File;
use std::io::{self, Write};

use crate::block::{ALIGNMENT, Block};

/// From this offset on a file is written past the page cache, where the file system can. Files of
/// gigabytes gain: nothing is copied into the cache, and the system never stops the writer because
/// too much in it is unwritten. Small ones stay in the cache for who reads them next.
pub(crate) const DIRECT_FROM: u64 = 64 << 20;

/// The file as the writing thread has it.
pub(crate) struct Disk {
    file: File,
    written: u64,
    /// Whether writes go past the page cache now.
    direct: bool,
    /// Whether the file system takes such writes, as far as is known.
    takes_direct: bool,
}

impl Disk {
    pub(crate) fn new(file: File) -> Disk {
        Disk { file, written: 0, direct: false, takes_direct: true }
    }

    /// Writes a block behind what was written before.
    ///
    /// # Errors
    /// What the system reports.
    pub(crate) fn write_block(&mut self, block: &Block) -> io::Result<()> {
        let aligned = block.bytes().len().is_multiple_of(ALIGNMENT)
            && self.written.is_multiple_of(ALIGNMENT as u64);
        self.set_direct(aligned && self.written >= DIRECT_FROM)?;
        self.write_all(block.bytes())
    }

    /// Brings everything to the disk; what was written directly is there already.
    ///
    /// # Errors
    /// What the system reports, also of earlier writes.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    bytes = &bytes[count..];
                    self.written += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The file system takes the flag and not the write: another alignment, or what a
                // write that was cut short has left.
                Err(error) if self.direct && error.kind() == io::ErrorKind::InvalidInput => {
                    self.set_direct(false)?;
                    self.takes_direct = false;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn set_direct(&mut self, direct: bool) -> io::Result<()> {
        let direct = direct && self.takes_direct;
        if direct != self.direct {
            match set_direct(&self.file, direct) {
                Ok(()) => self.direct = direct,
                Err(_) if direct => self.takes_direct = false,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Whether writes to `file` go past the page cache.
#[cfg(target_os = "linux")]
fn set_direct(file: &File, direct: bool) -> io::Result<()> {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    let mut flags = fcntl_getfl(file)?;
    flags.set(OFlags::DIRECT, direct);
    Ok(fcntl_setfl(file, flags)?)
}

#[cfg(not(target_os = "linux"))]
fn set_direct(_file: &File, _direct: bool) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On file systems that ask for alignment, the write within is refused at first.
    #[test]
    fn a_direct_write_that_the_file_system_refuses_is_made_through_the_cache() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut disk = Disk::new(File::create_new(&path).unwrap());
        disk.write_all(b"abc").unwrap();
        disk.set_direct(true).unwrap();
        disk.write_all(&[7; 5000]).unwrap();
        disk.set_direct(true).unwrap();
        disk.write_all(b"end").unwrap();
        let content = [b"abc".as_slice(), &[7; 5000], b"end"].concat();
        assert!(std::fs::read(&path).unwrap() == content);
    }
}
