//! Device memory: host memory under addresses at which nothing is mapped, and what is known of it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::ptr::NonNull;

/// What fills memory that nobody wrote: not a number as a float of any width.
pub(crate) const POISON: u8 = 0xFF;

/// Between allocations, so that no address past one is in the next.
const GAP: u64 = 1 << 16;

/// 64 bytes at a multiple of 64, as ONNX Runtime likes tensors.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line([u8; 64]);

/// The bytes behind an allocation.
enum Block {
    /// With one line more than was asked for.
    Owned(Vec<Line>),
    /// Memory of the host, which is kept by whoever made it known.
    Host(HostAddress),
}

/// An address of the host. What is behind it holds for as long as the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HostAddress(pub(crate) NonNull<u8>);

// SAFETY: an address is a number; who uses what is behind it says why they may.
#[allow(unsafe_code, reason = "an address is a number")]
unsafe impl Send for HostAddress {}
// SAFETY: the same.
#[allow(unsafe_code, reason = "an address is a number")]
unsafe impl Sync for HostAddress {}

struct Allocation {
    bytes: u64,
    block: Block,
    written: Intervals,
    owner: usize,
}

/// Every allocation of a device.
pub(crate) struct Memory {
    next: u64,
    live: BTreeMap<u64, Allocation>,
    /// Bytes by address.
    freed: BTreeMap<u64, u64>,
    pub(crate) used_bytes: u64,
}

impl Memory {
    /// None yet; addresses begin at `first`.
    pub(crate) fn new(first: u64) -> Memory {
        Memory { next: first, live: BTreeMap::new(), freed: BTreeMap::new(), used_bytes: 0 }
    }

    /// Allocates `bytes` of memory for the handle `owner`; no address is given twice. None where
    /// the host has not so much.
    pub(crate) fn alloc(&mut self, bytes: u64, owner: usize) -> Option<u64> {
        let count = usize::try_from(bytes.div_ceil(64)).ok()?.checked_add(1)?;
        let mut lines = Vec::new();
        lines.try_reserve_exact(count).ok()?;
        lines.resize(count, Line([POISON; 64]));
        self.used_bytes += bytes;
        Some(self.place(bytes, Block::Owned(lines), owner, Intervals::default()))
    }

    /// Gives memory of the host an address of the device; all of it counts as written, and as
    /// used: it is locked where it lies.
    pub(crate) fn map(&mut self, host: HostAddress, bytes: u64, owner: usize) -> u64 {
        let mut written = Intervals::default();
        written.insert(0..bytes);
        self.used_bytes += bytes;
        self.place(bytes, Block::Host(host), owner, written)
    }

    fn place(&mut self, bytes: u64, block: Block, owner: usize, written: Intervals) -> u64 {
        let address = self.next;
        self.next += bytes.next_multiple_of(256) + GAP;
        self.live.insert(address, Allocation { bytes, block, written, owner });
        address
    }

    /// Frees what begins at `address`.
    ///
    /// # Errors
    /// What is wrong with the address, or that something wrote past the end.
    pub(crate) fn free(&mut self, address: u64) -> Result<(), String> {
        let Some(allocation) = self.live.remove(&address) else {
            return Err(format!("memory was freed that is not allocated: {}", self.whose(address)));
        };
        self.freed.insert(address, allocation.bytes);
        let Block::Owned(lines) = &allocation.block else { return Ok(()) };
        self.used_bytes -= allocation.bytes;
        let end = usize::try_from(allocation.bytes).unwrap_or(usize::MAX);
        let rest = lines.get(end / 64..).unwrap_or_default().iter().flat_map(|line| line.0);
        match rest.skip(end % 64).all(|byte| byte == POISON) {
            true => Ok(()),
            false => Err(format!(
                "something wrote past the end of {} bytes at {address:#x}",
                allocation.bytes
            )),
        }
    }

    /// Takes the address from memory of the host that begins at `host`, and gives both.
    pub(crate) fn unmap(&mut self, host: HostAddress) -> Option<(u64, u64)> {
        let is_it =
            |allocation: &Allocation| matches!(&allocation.block, Block::Host(it) if *it == host);
        let (address, allocation) = self.live.iter().find(|(_, allocation)| is_it(allocation))?;
        let found = (*address, allocation.bytes);
        self.live.remove(&found.0);
        self.used_bytes -= found.1;
        self.freed.insert(found.0, found.1);
        Some(found)
    }

    /// Allocations that `owner` has not freed, as addresses and bytes.
    pub(crate) fn left(&self, owner: usize) -> Vec<(u64, u64)> {
        let of_owner = self.live.iter().filter(|(_, allocation)| allocation.owner == owner);
        of_owner.map(|(address, allocation)| (*address, allocation.bytes)).collect()
    }

    /// Where `bytes` at `address` are, to be written.
    ///
    /// # Errors
    /// What is wrong with the address; memory of the host's is only read.
    pub(crate) fn place_of(&mut self, address: u64, bytes: u64) -> Result<NonNull<u8>, String> {
        let (start, offset) = self.find(address, bytes)?;
        match self.live.get(&start).map(|allocation| &allocation.block) {
            Some(Block::Host(_)) => Err(format!("{address:#x} is memory that is only read")),
            _ => self.start_of(start, offset),
        }
    }

    fn start_of(&mut self, start: u64, offset: u64) -> Result<NonNull<u8>, String> {
        match self.live.get_mut(&start).map(|allocation| &mut allocation.block) {
            Some(Block::Owned(lines)) => {
                let lines = NonNull::from(lines.as_mut_slice()).cast::<u8>();
                Ok(offset_by(lines, offset))
            }
            Some(Block::Host(host)) => Ok(offset_by(host.0, offset)),
            None => Err(format!("{start:#x} is in no allocation")),
        }
    }

    /// Where `bytes` at `address` are, to be read: all must have been written.
    ///
    /// # Errors
    /// What is wrong with the address, or which bytes nothing wrote.
    pub(crate) fn written_place_of(
        &mut self,
        address: u64,
        bytes: u64,
    ) -> Result<NonNull<u8>, String> {
        let (start, offset) = self.find(address, bytes)?;
        if let Some(allocation) = self.live.get(&start)
            && let Some(gap) = allocation.written.first_gap(offset..offset + bytes)
        {
            return Err(format!(
                "bytes {}..{} of {bytes} at {address:#x} were read before anything wrote them",
                gap.start - offset,
                gap.end - offset
            ));
        }
        self.start_of(start, offset)
    }

    /// Notes that `bytes` at `address` were written.
    pub(crate) fn mark_written(&mut self, address: u64, bytes: u64) {
        if let Ok((start, offset)) = self.find(address, bytes)
            && let Some(allocation) = self.live.get_mut(&start)
        {
            allocation.written.insert(offset..offset + bytes);
        }
    }

    /// Notes that `bytes` at `address` are as if nobody had written them.
    pub(crate) fn mark_unwritten(&mut self, address: u64, bytes: u64) {
        if let Ok((start, offset)) = self.find(address, bytes)
            && let Some(allocation) = self.live.get_mut(&start)
        {
            allocation.written.remove(offset..offset + bytes);
        }
    }

    /// The allocation that has all of `bytes` at `address`, and the offset in it.
    ///
    /// # Errors
    /// What is wrong with the address.
    pub(crate) fn find(&self, address: u64, bytes: u64) -> Result<(u64, u64), String> {
        let below = self.live.range(..=address).next_back();
        let Some((start, allocation)) =
            below.filter(|(start, allocation)| address - **start < allocation.bytes.max(1))
        else {
            return Err(self.whose(address));
        };
        let offset = address - start;
        match offset.checked_add(bytes).is_some_and(|end| end <= allocation.bytes) {
            true => Ok((*start, offset)),
            false => Err(format!(
                "{bytes} bytes at {address:#x} reach past their allocation, which has {} of them",
                allocation.bytes - offset
            )),
        }
    }

    /// What is known of an address that is in no allocation.
    fn whose(&self, address: u64) -> String {
        let below = self.freed.range(..=address).next_back();
        match below.filter(|(start, bytes)| address - **start < (**bytes).max(1)) {
            Some((_, bytes)) => {
                format!("{address:#x} is in an allocation of {bytes} bytes that was freed")
            }
            None => format!("{address:#x} is in no allocation"),
        }
    }
}

/// The address so many bytes on. It lies in the same allocation.
fn offset_by(start: NonNull<u8>, offset: u64) -> NonNull<u8> {
    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
    start.map_addr(|address| address.saturating_add(offset))
}

/// Ranges of bytes, merged where they touch.
#[derive(Default)]
struct Intervals(BTreeMap<u64, u64>);

impl Intervals {
    fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let (mut start, mut end) = (range.start, range.end);
        while let Some((s, e)) = self.0.range(..=end).next_back().map(|(s, e)| (*s, *e))
            && e >= start
        {
            self.0.remove(&s);
            (start, end) = (start.min(s), end.max(e));
        }
        self.0.insert(start, end);
    }

    fn remove(&mut self, range: Range<u64>) {
        while let Some((s, e)) = self.0.range(..range.end).next_back().map(|(s, e)| (*s, *e))
            && e > range.start
        {
            self.0.remove(&s);
            if s < range.start {
                self.0.insert(s, range.start);
            }
            if e > range.end {
                self.0.insert(range.end, e);
            }
        }
    }

    /// The first bytes of `range` that are in none.
    fn first_gap(&self, range: Range<u64>) -> Option<Range<u64>> {
        let mut at = range.start;
        if let Some((_, end)) = self.0.range(..=at).next_back() {
            at = at.max(*end);
        }
        let next = self.0.range(at..).next().map_or(range.end, |(start, _)| *start);
        (at < range.end).then(|| at..next.min(range.end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_known_byte_by_byte() {
        let mut written = Intervals::default();
        assert_eq!(written.first_gap(0..4), Some(0..4));
        written.insert(2..4);
        written.insert(6..8);
        assert_eq!(written.first_gap(0..8), Some(0..2));
        assert_eq!(written.first_gap(2..8), Some(4..6));
        assert_eq!(written.first_gap(7..9), Some(8..9));
        written.insert(4..6);
        assert_eq!(written.first_gap(2..8), None);
        written.insert(0..10);
        written.remove(3..5);
        assert_eq!(written.first_gap(0..10), Some(3..5));
        written.remove(0..10);
        assert_eq!((written.first_gap(5..6), written.first_gap(5..5)), (Some(5..6), None));
    }

    #[test]
    fn an_address_is_in_one_allocation_or_known_to_be_in_none() {
        let mut memory = Memory::new(1 << 40);
        let (a, b) = (memory.alloc(100, 1).unwrap(), memory.alloc(8, 1).unwrap());
        assert_eq!(a % 256 + b % 256, 0);
        assert!(memory.place_of(a + 60, 40).is_ok());
        let message = memory.place_of(a + 60, 41).unwrap_err();
        assert!(message.contains("reach past their allocation, which has 40"), "{message}");
        assert!(memory.place_of(a + 100, 0).unwrap_err().contains("in no allocation"));
        assert!(memory.written_place_of(a, 1).unwrap_err().contains("bytes 0..1 of 1"));
        memory.mark_written(a, 100);
        memory.written_place_of(a, 100).unwrap();
        memory.mark_unwritten(a + 10, 10);
        assert!(memory.written_place_of(a + 5, 20).unwrap_err().contains("bytes 5..15 of 20"));
        memory.free(a).unwrap();
        assert!(memory.place_of(a + 99, 1).unwrap_err().contains("100 bytes that was freed"));
        assert!(memory.free(a).unwrap_err().contains("was freed"));
        assert_eq!((memory.left(1), memory.left(2), memory.used_bytes), (vec![(b, 8)], vec![], 8));
        assert_eq!((memory.alloc(u64::MAX, 1), memory.used_bytes), (None, 8));
    }

    #[test]
    #[allow(unsafe_code, reason = "writes where it must not")]
    fn writing_past_the_end_is_found_when_it_is_freed() {
        let mut memory = Memory::new(1 << 40);
        let address = memory.alloc(64, 1).unwrap();
        let place = memory.place_of(address, 64).unwrap();
        // SAFETY: there are 64 more bytes, which are there to be overwritten.
        unsafe { place.add(64).write(0) };
        assert!(memory.free(address).unwrap_err().contains("wrote past the end"));
    }
}
