//! Rows of one block of memory, from lying so far apart to lying farther apart or closer.

use std::ops::Range;

/// Rows that are moved together, in the order in which they must be: `pitches` is how far apart the
/// starts of `rows` lie and are going to lie, of which each holds `length`, no more than either.
///
/// No row's new place is that of a row which has not been moved. Of more than one row that are moved
/// together, no new place is any of their old ones; one alone may overlap itself. Where rows end up
/// twice as far apart or half as far, they are moved in as many steps as their number has binary digits.
pub(super) fn moves(
    rows: usize,
    pitches: (usize, usize),
    length: usize,
) -> impl Iterator<Item = Range<usize>> {
    let (from, to) = pitches;
    // The first row stays.
    let mut left = if from == to || length == 0 { 0..0 } else { 1..rows.max(1) };
    std::iter::from_fn(move || {
        if left.is_empty() {
            return None;
        }
        // Farther apart from the last row on, closer from the first on.
        let next = if to > from {
            let old_end = (left.end - 1) * from + length;
            let first = old_end.div_ceil(to).clamp(left.start, left.end - 1);
            first..left.end
        } else {
            let last = (left.start * from - length) / to;
            left.start..(last + 1).clamp(left.start + 1, left.end)
        };
        left = if to > from { left.start..next.start } else { next.end..left.end };
        Some(next)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is in no row.
    const NOTHING: u32 = u32::MAX;

    /// Memory with so many rows, each with numbers of its own.
    fn laid_out(rows: usize, pitch: usize, length: usize, room: usize) -> Vec<u32> {
        let mut memory = vec![NOTHING; rows * room];
        for row in 0..rows {
            for position in 0..length {
                memory[row * pitch + position] = (row * room + position) as u32;
            }
        }
        memory
    }

    /// Moves as a device does: copies of more than one row may read and write in any order.
    fn restride(memory: &mut [u32], rows: usize, (from, to): (usize, usize), length: usize) {
        for range in moves(rows, (from, to), length) {
            let span = |pitch| range.start * pitch..(range.end - 1) * pitch + length;
            let (old, new) = (span(from), span(to));
            let apart = old.end <= new.start || new.end <= old.start;
            assert!(apart || range.len() == 1, "rows {range:?} overlap");
            for row in range {
                memory.copy_within(row * from..row * from + length, row * to);
            }
        }
    }

    proptest! {
        #[test]
        fn every_row_is_whole_at_its_new_place(
            rows in 0_usize..40,
            (from, to, length) in (1_usize..70, 1_usize..70)
                .prop_flat_map(|(from, to)| (Just(from), Just(to), 0..=from.min(to))),
            spare in 0_usize..9,
        ) {
            let room = from.max(to) + spare;
            let mut memory = laid_out(rows, from, length, room);
            restride(&mut memory, rows, (from, to), length);
            let want = laid_out(rows, to, length, room);
            for row in 0..rows {
                let place = row * to..row * to + length;
                prop_assert_eq!(&memory[place.clone()], &want[place]);
            }
        }

        #[test]
        fn every_row_but_the_first_is_moved_once(rows in 1_usize..200, from in 1_usize..50, to in 1_usize..50) {
            let mut moved: Vec<usize> = moves(rows, (from, to), from.min(to)).flatten().collect();
            moved.sort_unstable();
            let want: Vec<usize> = if from == to { Vec::new() } else { (1..rows).collect() };
            prop_assert_eq!(moved, want);
        }
    }

    #[test]
    fn rows_twice_as_far_apart_or_half_as_far_are_moved_in_few_copies() {
        let ranges = |from, to, length| moves(8, (from, to), length).collect::<Vec<_>>();
        assert_eq!(ranges(512, 1024, 512), [4..8, 2..4, 1..2]);
        assert_eq!(ranges(1024, 512, 512), [1..2, 2..4, 4..8]);
        // The last rung of a context of 3,000: two rows overlap themselves.
        assert_eq!(ranges(2048, 3000, 2048), [6..8, 5..6, 4..5, 3..4, 2..3, 1..2]);
        assert_eq!(ranges(512, 1024, 0), Vec::<Range<usize>>::new());
        assert_eq!(moves(1, (4, 8), 4).count() + moves(0, (4, 8), 4).count(), 0);
    }
}
