//! The key/value cache: memory of every slot, how far it is filled, growing and shortening it.

mod restride;

use cumo_bundle::{CacheSlot, CacheUpdate, Value};

use crate::backend::{Backend, Buffer, RowWrite, Rows};
use crate::error::Error;
use crate::shape::{Shape, Size, Sizes, Symbol};

/// Every slot of a plan's cache, filled to the same length.
#[derive(Debug)]
pub(crate) struct Cache {
    slots: Vec<Slot>,
    /// Positions there is room for.
    capacity: usize,
    /// Positions that are filled.
    length: usize,
    /// The rung of the last pass.
    rung: usize,
}

#[derive(Debug)]
struct Slot {
    /// Product of the dimensions before the positions: runs of memory that hold positions.
    rows: usize,
    /// Bytes of one position in one row.
    position_bytes: usize,
    pitch: Pitch,
    /// The update that the slot's graphs do.
    update: CacheUpdate,
    /// Memory read by the next pass, and for [`CacheUpdate::Append`] the memory it writes.
    current: Option<Buffer>,
    other: Option<Buffer>,
}

/// How many positions lie between the starts of a slot's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pitch {
    /// As many as are filled.
    Length,
    /// As many as there is room for.
    Capacity,
    /// As many as the last pass has looked at.
    Rung,
}

impl Cache {
    /// A cache without memory.
    ///
    /// # Errors
    /// [`Error::UnknownSymbol`] where a slot's shape has a symbol that is none.
    pub(crate) fn new(slots: &[CacheSlot]) -> Result<Self, Error> {
        let slots = slots.iter().map(Slot::new).collect::<Result<_, _>>()?;
        Ok(Cache { slots, capacity: 0, length: 0, rung: 0 })
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Bytes of every slot at the present capacity.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes_at(self.capacity)
    }

    /// Bytes of every slot with room for `capacity` positions.
    pub(crate) fn bytes_at(&self, capacity: usize) -> usize {
        let bytes = |slot: &Slot| slot.bytes(capacity).saturating_mul(slot.copies());
        self.slots.iter().map(bytes).fold(0, usize::saturating_add)
    }

    /// Makes room for `capacity` positions, keeping those that are filled.
    ///
    /// # Errors
    /// [`Error::Backend`] where there is no memory for it; the cache is then empty and without
    /// memory.
    pub(crate) fn reserve(
        &mut self,
        backend: &mut dyn Backend,
        capacity: usize,
    ) -> Result<(), Error> {
        if capacity <= self.capacity {
            return Ok(());
        }
        let length = self.length;
        for index in 0..self.slots.len() {
            let old = self.pitch(&self.slots[index]);
            let slot = &mut self.slots[index];
            let pitches = (old, if slot.pitch == Pitch::Capacity { capacity } else { old });
            if let Err(error) = slot.grow(backend, pitches, capacity, length) {
                self.release(backend);
                return Err(error);
            }
        }
        self.capacity = capacity;
        Ok(())
    }

    /// Moves the filled positions to where a pass that looks at `rung` positions has them. Gives
    /// whether that is elsewhere than they were.
    ///
    /// # Errors
    /// [`Error::Backend`]; the cache is then empty.
    pub(crate) fn lay_out(
        &mut self,
        backend: &mut dyn Backend,
        rung: usize,
    ) -> Result<bool, Error> {
        let pitches = (std::mem::replace(&mut self.rung, rung), rung);
        let mut slots = self.slots.iter().filter(|slot| slot.pitch == Pitch::Rung).peekable();
        if pitches.0 == pitches.1 || self.length == 0 || slots.peek().is_none() {
            return Ok(false);
        }
        let moved = slots.try_for_each(|slot| slot.restride(backend, pitches, self.length));
        if moved.is_err() {
            // Some rows were moved and some were not.
            self.length = 0;
        }
        moved.map(|()| true)
    }

    fn pitch(&self, slot: &Slot) -> usize {
        match slot.pitch {
            Pitch::Length => self.length,
            Pitch::Capacity => self.capacity,
            Pitch::Rung => self.rung,
        }
    }

    /// Forgets the positions behind the first `length`.
    ///
    /// # Errors
    /// [`Error::Backend`]; the cache is then empty.
    pub(crate) fn truncate(
        &mut self,
        backend: &mut dyn Backend,
        length: usize,
    ) -> Result<(), Error> {
        if length >= self.length {
            return Ok(());
        }
        let from = std::mem::replace(&mut self.length, length);
        for slot in &mut self.slots {
            // Elsewhere the rest of a row is written over later.
            if slot.pitch == Pitch::Length
                && let Err(error) = slot.close_gaps(backend, from, length)
            {
                // Some slots have gaps and some do not.
                self.length = 0;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Says that a pass has put `positions` more into the cache.
    pub(crate) fn advance(&mut self, positions: usize) {
        self.length += positions;
        for slot in &mut self.slots {
            if slot.update == CacheUpdate::Append {
                std::mem::swap(&mut slot.current, &mut slot.other);
            }
        }
    }

    /// The memory that a pass reads a slot from; none before [`Cache::reserve`].
    pub(crate) fn input(&self, slot: usize) -> Option<Buffer> {
        self.slots.get(slot)?.current
    }

    /// The memory that a pass writes a slot to.
    pub(crate) fn output(&self, slot: usize) -> Option<Buffer> {
        let slot = self.slots.get(slot)?;
        match slot.update {
            CacheUpdate::Append => slot.other,
            CacheUpdate::InPlace | CacheUpdate::Rows => slot.current,
        }
    }

    /// How the rows of a pass, `[.., sequence, ..]` at the start of `rows`, go behind the positions
    /// that a slot holds, of which `index` holds the number; none before [`Cache::reserve`].
    pub(crate) fn row_write(
        &self,
        slot: usize,
        rows: Buffer,
        index: Buffer,
        sequence: usize,
    ) -> Option<RowWrite> {
        let slot = self.slots.get(slot)?;
        Some(RowWrite {
            rows,
            cache: slot.current?,
            index,
            position: self.length,
            heads: slot.rows,
            sequence,
            pitch: self.pitch(slot),
            position_bytes: slot.position_bytes,
        })
    }

    /// Gives all memory back.
    pub(crate) fn release(&mut self, backend: &mut dyn Backend) {
        for slot in &mut self.slots {
            for buffer in [slot.current.take(), slot.other.take()].into_iter().flatten() {
                backend.release(buffer);
            }
        }
        (self.capacity, self.length, self.rung) = (0, 0, 0);
    }
}

impl Slot {
    fn new(slot: &CacheSlot) -> Result<Self, Error> {
        let value = Value { name: slot.name.clone(), dtype: slot.dtype, shape: slot.shape.clone() };
        let shape = Shape::new("cache", &value)?;
        let pitch_of = |size: &Size| match size {
            Size::Known(Symbol::PastSequence) => Some(Pitch::Length),
            Size::Known(Symbol::MaxSequence) => Some(Pitch::Capacity),
            Size::Known(Symbol::Attended) => Some(Pitch::Rung),
            _ => None,
        };
        // `Bundle::open` has checked that the positions are there, once.
        let mut sizes = shape.0.iter().map(pitch_of).enumerate();
        let found = sizes.find_map(|(axis, pitch)| Some((axis, pitch?)));
        let (axis, pitch) = found.unwrap_or((shape.0.len(), Pitch::Capacity));
        let product = |sizes: &[Size]| Shape(sizes.to_vec()).elements(&Sizes::default());
        let behind = shape.0.get(axis + 1..).unwrap_or_default();
        Ok(Slot {
            rows: product(&shape.0[..axis]),
            position_bytes: product(behind).saturating_mul(slot.dtype.size()),
            pitch,
            update: slot.update,
            current: None,
            other: None,
        })
    }

    fn copies(&self) -> usize {
        match self.update {
            CacheUpdate::Append => 2,
            CacheUpdate::InPlace | CacheUpdate::Rows => 1,
        }
    }

    fn bytes(&self, positions: usize) -> usize {
        self.rows.saturating_mul(self.position_bytes).saturating_mul(positions)
    }

    /// Moves the filled positions into memory for `capacity`; `pitches` are those of its rows there
    /// and here.
    fn grow(
        &mut self,
        backend: &mut dyn Backend,
        (from, to): (usize, usize),
        capacity: usize,
        length: usize,
    ) -> Result<(), Error> {
        let larger = backend.allocate(self.bytes(capacity))?;
        if let Some(smaller) = self.current.replace(larger) {
            let copied = self.copy_rows(backend, (smaller, from), (larger, to), length);
            backend.release(smaller);
            copied?;
        }
        if self.update == CacheUpdate::Append {
            if let Some(smaller) = self.other.take() {
                backend.release(smaller);
            }
            self.other = Some(backend.allocate(self.bytes(capacity))?);
        }
        Ok(())
    }

    /// Closes the gaps that are left in rows of `from` positions when only `to` are kept.
    fn close_gaps(
        &mut self,
        backend: &mut dyn Backend,
        from: usize,
        to: usize,
    ) -> Result<(), Error> {
        let (Some(current), Some(other)) = (self.current, self.other) else { return Ok(()) };
        self.copy_rows(backend, (current, from), (other, to), to)?;
        std::mem::swap(&mut self.current, &mut self.other);
        Ok(())
    }

    /// Moves the first `length` positions of every row within the slot's memory; rows lie the given
    /// numbers of positions apart, before and behind.
    fn restride(
        &self,
        backend: &mut dyn Backend,
        (from, to): (usize, usize),
        length: usize,
    ) -> Result<(), Error> {
        let Some(buffer) = self.current else { return Ok(()) };
        let (from_bytes, to_bytes) = (from * self.position_bytes, to * self.position_bytes);
        let bytes = length * self.position_bytes;
        for rows in restride::moves(self.rows, (from, to), length) {
            let rows_at = |pitch| Rows { buffer, offset: rows.start * pitch, pitch };
            let (from, to) = (rows_at(from_bytes), rows_at(to_bytes));
            match rows.len() {
                // It may overlap itself.
                1 => backend.copy((buffer, from.offset), (buffer, to.offset), bytes)?,
                count => backend.copy_rows(from, to, bytes, count)?,
            }
        }
        Ok(())
    }

    /// Copies the first `length` positions of every row; rows lie the given number of positions
    /// apart.
    fn copy_rows(
        &self,
        backend: &mut dyn Backend,
        (from, from_stride): (Buffer, usize),
        (to, to_stride): (Buffer, usize),
        length: usize,
    ) -> Result<(), Error> {
        let bytes = self.position_bytes;
        let from = Rows { buffer: from, offset: 0, pitch: from_stride * bytes };
        let to = Rows { buffer: to, offset: 0, pitch: to_stride * bytes };
        Ok(backend.copy_rows(from, to, length * bytes, self.rows)?)
    }
}
