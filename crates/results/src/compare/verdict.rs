//! What a difference means.

use std::collections::HashSet;

use serde::Serialize;

use super::Row;
use crate::metric::Unit;

/// What a difference means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The second is better: faster, or with less of it.
    Better,
    /// The second is worse.
    Worse,
    /// The difference may be chance.
    WithinNoise,
    /// The difference is no chance, and smaller than the threshold.
    BelowThreshold,
    /// One repetition shows no noise, so nothing can be said.
    Undecided,
    /// A number that was read once, and differs by little.
    Single,
    /// The results did not do the same work.
    OtherWork,
}

impl Verdict {
    /// Whether an automatic check should fail.
    pub fn is_regression(self) -> bool {
        self == Verdict::Worse
    }

    /// Whether it says anything: not of one repetition, nor of other work.
    pub fn is_judged(self) -> bool {
        !matches!(self, Verdict::Undecided | Verdict::OtherWork)
    }

    /// For people.
    pub(crate) fn words(self, unit: Unit) -> &'static str {
        match (self, unit) {
            (Verdict::Better, Unit::Nanoseconds | Unit::TokensPerSecond) => "faster",
            (Verdict::Worse, Unit::Nanoseconds | Unit::TokensPerSecond) => "SLOWER",
            (Verdict::Better, Unit::Bytes | Unit::Joules | Unit::Watts) => "less",
            (Verdict::Worse, Unit::Bytes | Unit::Joules | Unit::Watts) => "MORE",
            (Verdict::WithinNoise | Verdict::Single, _) => "within noise",
            (Verdict::BelowThreshold, _) => "below threshold",
            (Verdict::Undecided, _) => "one repetition",
            (Verdict::OtherWork, _) => "other work",
        }
    }
}

/// Gives every row its verdict. Each comes with the least difference that counts, in its own unit.
///
/// Which differences are not chance is decided after Holm: the smallest of `n` probabilities is held
/// against `level / n`, the next against `level / (n - 1)`, and so on until one is over.
pub(super) fn judge(rows: &mut [(Row, f64)], level: f64, single_threshold: f64) {
    let mut tested: Vec<(usize, f64)> = Vec::new();
    for (index, (row, _)) in rows.iter().enumerate() {
        if let (Verdict::Undecided, Some(p_value)) = (row.verdict, row.p_value) {
            tested.push((index, p_value));
        }
    }
    tested.sort_by(|a, b| a.1.total_cmp(&b.1));
    let count = tested.len();
    let is_sure =
        |(place, (_, p_value)): &(usize, &(usize, f64))| *p_value <= level / (count - place) as f64;
    let sure: HashSet<usize> =
        tested.iter().enumerate().take_while(is_sure).map(|(_, (index, _))| *index).collect();
    for (index, (row, least)) in rows.iter_mut().enumerate() {
        let difference = row.second - row.first;
        let is_better = (difference > 0.0) == row.unit.more_is_better();
        let counted = if is_better { Verdict::Better } else { Verdict::Worse };
        row.verdict = match row.verdict {
            Verdict::Undecided if row.p_value.is_some() => match sure.contains(&index) {
                true if difference.abs() > *least => counted,
                true => Verdict::BelowThreshold,
                false => Verdict::WithinNoise,
            },
            Verdict::Single if row.change.abs() > single_threshold => counted,
            other => other,
        };
    }
}
