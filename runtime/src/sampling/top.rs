//! The largest of many scores, without sorting them all.

use std::cmp::Ordering;

/// A token and its score.
pub(super) type Candidate = (f32, u32);

/// Better first: the higher score, and of equal ones the lower id.
pub(super) fn better(a: &Candidate, b: &Candidate) -> Ordering {
    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
}

/// The best token; none where there are no scores above minus infinity.
pub(super) fn best(scores: &[f32]) -> Option<usize> {
    let mut best = (f32::NEG_INFINITY, None);
    for (token, score) in scores.iter().enumerate() {
        if *score > best.0 {
            best = (*score, Some(token));
        }
    }
    best.1
}

/// Puts the `count` best tokens into `out`, best first. Scores of minus infinity are left out.
///
/// Takes one pass in which most scores are only compared with the worst of the best so far: at
/// most `2 * count` candidates are kept, and cut to `count` whenever there are that many.
pub(super) fn select(scores: &[f32], count: usize, out: &mut Vec<Candidate>) {
    out.clear();
    if count == 0 {
        return;
    }
    let room = count.saturating_mul(2).max(16);
    let mut worst = f32::NEG_INFINITY;
    for (token, score) in scores.iter().enumerate() {
        // Of equal scores the earlier one, with the lower id, is there already.
        if *score > worst {
            out.push((*score, token as u32));
            if out.len() == room && count < room {
                out.select_nth_unstable_by(count - 1, better);
                out.truncate(count);
                worst = out[count - 1].0;
            }
        }
    }
    if out.len() > count {
        out.select_nth_unstable_by(count - 1, better);
        out.truncate(count);
    }
    out.sort_unstable_by(better);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn selection_is_the_front_of_a_full_sort(
            scores in proptest::collection::vec(-4..4_i32, 0..200),
            count in 0..60_usize,
        ) {
            // Whole numbers of a small range, so that there are many ties.
            let scores: Vec<f32> = scores
                .into_iter()
                .map(|score| if score == -4 { f32::NEG_INFINITY } else { score as f32 })
                .collect();
            let mut all: Vec<Candidate> = scores
                .iter()
                .enumerate()
                .filter(|(_, score)| **score > f32::NEG_INFINITY)
                .map(|(token, score)| (*score, token as u32))
                .collect();
            all.sort_by(better);
            prop_assert_eq!(best(&scores), all.first().map(|first| first.1 as usize));
            all.truncate(count);
            let mut selected = vec![(9.0, 9)];
            select(&scores, count, &mut selected);
            prop_assert_eq!(selected, all);
        }
    }
}
