//! The parts of a 64-bit ELF file's header that say what is mapped, from `elf(5)`.

use std::fmt;

use crate::error::Error;

/// Bytes of the header of a 64-bit file.
pub(crate) const HEADER_BYTES: usize = 64;

/// Bytes of one entry of the table of segments.
pub(crate) const SEGMENT_BYTES: usize = 56;

/// `e_phnum` of files whose number of segments is told elsewhere. No loader takes those.
const COUNTED_ELSEWHERE: u16 = 0xffff;

/// `e_type` of shared objects.
const SHARED: u16 = 3;

/// `p_type` of segments that are mapped, of the loader's own table within one, and of what it
/// protects against writing once it has relocated it.
const MAPPED: u32 = 1;
const DYNAMIC: u32 = 2;
const RELRO: u32 = 0x6474_e552;

/// The bit of `p_flags` of segments that may be read.
const READABLE: u32 = 4;

/// The largest page of a system that this program runs on. Linkers round what is protected up to
/// pages.
const LARGEST_PAGE: u64 = 1 << 16;

/// What processor a file is for: `e_machine`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Architecture(u16);

/// Names of those that a copy may have come from.
const NAMES: [(u16, &str, &str); 7] = [
    (3, "x86", "x86"),
    (21, "powerpc64", "PowerPC64"),
    (22, "s390x", "s390x"),
    (40, "arm", "32-bit Arm"),
    (62, "x86_64", "x86-64"),
    (183, "aarch64", "aarch64"),
    (243, "riscv64", "RISC-V"),
];

impl Architecture {
    /// That of this program, where it is one that this crate knows.
    #[must_use]
    pub fn of_program() -> Option<Self> {
        let known = NAMES.iter().find(|(_, rust, _)| *rust == std::env::consts::ARCH);
        known.map(|(number, ..)| Architecture(*number))
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(number, ..)| *number == self.0) {
            Some((.., name)) => f.write_str(name),
            None => write!(f, "another processor (ELF machine {})", self.0),
        }
    }
}

/// The header of a 64-bit shared object.
pub(crate) struct Header {
    pub(crate) architecture: Architecture,
    /// Bytes from the file's start to its table of segments.
    pub(crate) segments_offset: u64,
    segments: u16,
    is_big_endian: bool,
}

impl Header {
    /// Reads the first bytes of a file of `length` bytes.
    ///
    /// # Errors
    /// [`Error::NotShared`], [`Error::CutOff`].
    pub(crate) fn read(bytes: &[u8], length: u64) -> Result<Self, Error> {
        let start = bytes.get(..4).unwrap_or(bytes);
        if start != &b"\x7fELF"[..start.len()] {
            return Err(Error::NotShared("it does not begin as an ELF file does"));
        }
        if bytes.len() < HEADER_BYTES {
            return Err(Error::CutOff { has: length, needs: HEADER_BYTES as u64 });
        }
        let is_big_endian = match bytes[5] {
            1 => false,
            2 => true,
            _ => return Err(Error::NotShared("its byte order is not known")),
        };
        let fields = Fields { bytes, is_big_endian };
        if bytes[4] != 2 {
            return Err(Error::NotShared("it is not a 64-bit ELF file"));
        }
        if fields.u16_at(16) != SHARED {
            return Err(Error::NotShared("it is an ELF file of another kind"));
        }
        let segments = fields.u16_at(56);
        if usize::from(fields.u16_at(54)) != SEGMENT_BYTES || segments == COUNTED_ELSEWHERE {
            return Err(Error::NotShared("its table of segments has another form"));
        }
        Ok(Header {
            architecture: Architecture(fields.u16_at(18)),
            segments_offset: fields.u64_at(32),
            segments,
            is_big_endian,
        })
    }

    /// Bytes of the table of segments.
    pub(crate) fn segments_bytes(&self) -> usize {
        usize::from(self.segments) * SEGMENT_BYTES
    }

    /// One entry of the table of segments.
    pub(crate) fn segment(&self, bytes: &[u8]) -> Segment {
        let fields = Fields { bytes, is_big_endian: self.is_big_endian };
        Segment {
            kind: fields.u32_at(0),
            flags: fields.u32_at(4),
            offset: fields.u64_at(8),
            address: fields.u64_at(16),
            file_bytes: fields.u64_at(32),
            memory_bytes: fields.u64_at(40),
        }
    }
}

/// An entry of the table of segments.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segment {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    file_bytes: u64,
    memory_bytes: u64,
}

impl Segment {
    /// One behind the last byte of the file that is mapped; 0 where none is.
    pub(crate) fn mapped_end(&self) -> u64 {
        // One without bytes in the file, only in memory, has an offset that may lie anywhere.
        match self.kind == MAPPED && self.file_bytes > 0 {
            true => self.offset.saturating_add(self.file_bytes),
            false => 0,
        }
    }

    /// One behind its last byte in memory.
    fn end(&self) -> u64 {
        self.address.saturating_add(self.memory_bytes)
    }

    fn holds(&self, other: &Segment, room: u64) -> bool {
        self.address <= other.address && other.end() <= self.end().saturating_add(room)
    }
}

/// What the loader takes on trust about segments, from `elf(5)` and the System V ABI.
///
/// # Errors
/// [`Error::Damaged`].
pub(crate) fn check_segments(segments: &[Segment]) -> Result<(), Error> {
    let mapped: Vec<&Segment> = segments.iter().filter(|it| it.kind == MAPPED).collect();
    let fault = |is_fault: bool, what| if is_fault { Err(Error::Damaged(what)) } else { Ok(()) };
    let first = mapped.first();
    fault(
        first.is_some_and(|first| first.offset > 0 || first.file_bytes < HEADER_BYTES as u64),
        "its first mapped segment does not hold its header",
    )?;
    for segment in &mapped {
        fault(
            segment.file_bytes > segment.memory_bytes,
            "a segment has more bytes in the file than in memory",
        )?;
        fault(
            segment.address.checked_add(segment.memory_bytes).is_none(),
            "a segment ends beyond all addresses",
        )?;
        fault(segment.flags & READABLE == 0, "a mapped segment is not to be read")?;
    }
    fault(
        mapped.windows(2).any(|pair| pair[1].address < pair[0].end()),
        "its mapped segments overlap, or are not in order",
    )?;
    for (kind, room, what) in [
        (DYNAMIC, 0, "its dynamic section lies in no mapped segment"),
        (RELRO, LARGEST_PAGE, "what is protected after relocation lies in no mapped segment"),
    ] {
        let mut own = segments.iter().filter(|it| it.kind == kind && it.memory_bytes > 0);
        fault(own.any(|own| !mapped.iter().any(|it| it.holds(own, room))), what)?;
    }
    Ok(())
}

/// Numbers in bytes.
struct Fields<'a> {
    bytes: &'a [u8],
    is_big_endian: bool,
}

impl Fields<'_> {
    /// The bytes at an offset; zeros where there are none.
    fn array<const N: usize>(&self, offset: usize) -> [u8; N] {
        let mut array = [0; N];
        if let Some(bytes) = self.bytes.get(offset..offset + N) {
            array.copy_from_slice(bytes);
        }
        if self.is_big_endian {
            array.reverse();
        }
        array
    }

    fn u16_at(&self, offset: usize) -> u16 {
        u16::from_le_bytes(self.array(offset))
    }

    fn u32_at(&self, offset: usize) -> u32 {
        u32::from_le_bytes(self.array(offset))
    }

    fn u64_at(&self, offset: usize) -> u64 {
        u64::from_le_bytes(self.array(offset))
    }
}
