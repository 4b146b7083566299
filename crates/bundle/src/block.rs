//! Memory that files are written from.

/// What direct writes ask of addresses, offsets and lengths; enough for every disk there is.
pub(crate) const ALIGNMENT: usize = 4096;

/// Memory for some bytes of the file, at an address that direct writes take.
#[derive(Debug, Default)]
pub struct Block {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl Block {
    /// Makes it `length` bytes long. What is in them is not said: it may be from an earlier use.
    pub fn resize(&mut self, length: usize) {
        if self.memory.len() < self.start + length {
            self.memory = vec![0; length + ALIGNMENT];
            let address = self.memory.as_ptr().addr();
            self.start = address.next_multiple_of(ALIGNMENT) - address;
        }
        self.length = length;
    }

    /// Puts `count` zeros behind what it holds.
    pub fn grow(&mut self, count: usize) {
        let length = self.length;
        if self.memory.len() < self.start + length + count {
            let mut larger = Block::default();
            larger.resize(length + count);
            larger.bytes_mut()[..length].copy_from_slice(self.bytes());
            *self = larger;
        }
        self.length = length + count;
        self.bytes_mut()[length..].fill(0);
    }

    /// Makes it `length` bytes long, if it is longer.
    pub fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }

    /// One whose bytes cannot be had, to make who asks for them panic.
    #[cfg(test)]
    pub(crate) fn broken() -> Block {
        Block { memory: Vec::new(), start: 0, length: 1 }
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.length]
    }

    /// Its bytes, to be filled.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.length]
    }
}
