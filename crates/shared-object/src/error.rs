//! Why a file is not given to the loader.

use std::io;
use std::path::PathBuf;

use crate::elf::Architecture;

/// What is wrong with a file. Texts go on after its name: `libx.so is cut off: ...`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is nothing of that name, or it cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// A folder, a pipe or a device.
    #[error("is no regular file")]
    NotAFile,
    /// Its first bytes are those of something else.
    #[error("is no shared object: {0}")]
    NotShared(&'static str),
    /// It is for another processor.
    #[error("is for {found}, this program is for {wanted}")]
    OtherArchitecture {
        /// The file's.
        found: Architecture,
        /// This program's.
        wanted: Architecture,
    },
    /// It ends before what its header tells of.
    #[error("is cut off: it has {has} bytes and should have {needs} or more; copy it again")]
    CutOff {
        /// Bytes of the file.
        has: u64,
        /// Bytes that its header tells of.
        needs: u64,
    },
    /// Its header tells of what no linker makes.
    #[error("is damaged: {0}; copy it again")]
    Damaged(&'static str),
    /// The loader would find this file under the name.
    #[error("is found at {}, which {cause}", .file.display())]
    Elsewhere {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        cause: Box<Error>,
    },
}
