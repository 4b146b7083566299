//! Places for what a backend gives out as numbers.

use crate::backend::Buffer;

/// What is behind the numbers of buffers. No number is given out twice: its lower half is a place,
/// its upper half how many were there before.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<usize>,
}

#[derive(Debug)]
struct Slot<T> {
    content: Option<T>,
    generation: u32,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Slots { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    /// Gives something a number.
    pub(crate) fn keep(&mut self, content: T) -> Buffer {
        let index = self.free.pop().unwrap_or(self.slots.len());
        if index == self.slots.len() {
            self.slots.push(Slot { content: None, generation: 0 });
        }
        let slot = &mut self.slots[index];
        slot.content = Some(content);
        Buffer(u64::from(slot.generation) << 32 | index as u64)
    }

    /// What has a number; none where it was taken away.
    pub(crate) fn get(&self, buffer: Buffer) -> Option<&T> {
        let (index, generation) = place(buffer);
        self.slots.get(index).filter(|slot| slot.generation == generation)?.content.as_ref()
    }

    /// Takes away what has a number.
    pub(crate) fn take(&mut self, buffer: Buffer) -> Option<T> {
        let (index, generation) = place(buffer);
        let slot = self.slots.get_mut(index).filter(|slot| slot.generation == generation)?;
        let content = slot.content.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(index);
        Some(content)
    }
}

/// Index and generation in a number.
fn place(buffer: Buffer) -> (usize, u32) {
    ((buffer.0 & u64::from(u32::MAX)) as usize, (buffer.0 >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_good_until_it_is_taken_and_never_again() {
        let mut slots = Slots::default();
        let first = slots.keep("first");
        assert_eq!(slots.get(first), Some(&"first"));
        assert_eq!(slots.take(first), Some("first"));
        assert_eq!(slots.take(first), None);
        assert_eq!(slots.get(first), None);
        let second = slots.keep("second");
        assert_ne!(first, second);
        assert_eq!((slots.get(first), slots.get(second)), (None, Some(&"second")));
        assert_eq!(slots.get(Buffer(77)), None);
    }
}
