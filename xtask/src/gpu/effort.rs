//! How much is asked, and how long that may take.

use std::time::{Duration, Instant};

use super::parts::Part;

/// How much of each part is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effort {
    /// All.
    Full,
    /// What fits into ten minutes of a lent card: one golden, a hundred questions, few repetitions,
    /// weights one way.
    Quick,
    /// As little as shows that the steps work, on the stand-in.
    Rehearsal,
}

impl Effort {
    /// The golden that alone is asked, where not all are.
    pub(super) fn only_golden(self) -> Option<&'static str> {
        match self {
            Effort::Full => None,
            Effort::Quick | Effort::Rehearsal => Some("mistral-moe"),
        }
    }

    /// How many of the sample's questions are asked; none: all.
    pub(super) fn questions(self) -> Option<usize> {
        match self {
            Effort::Full => None,
            Effort::Quick => Some(100),
            Effort::Rehearsal => Some(12),
        }
    }

    /// Options of `cumo bench` beyond its defaults.
    pub(super) fn of_bench(self) -> &'static [&'static str] {
        match self {
            Effort::Full => &[],
            Effort::Quick => {
                &["--repetitions", "3", "--warmup", "1", "--gen", "32", "--cold-starts", "1"]
            }
            Effort::Rehearsal => &[
                "--repetitions",
                "2",
                "--warmup",
                "1",
                "--gen",
                "4",
                "--prompt-tokens",
                "8",
                "--depth",
                "0,16",
                "--cold-starts",
                "1",
            ],
        }
    }

    /// Whether engines are measured with their weights as constants too.
    pub(super) fn has_constants(self) -> bool {
        self != Effort::Quick
    }

    /// About how long a part takes once everything is built, in seconds. An estimate: exports and
    /// engines' builds as they were timed on two cores, and a guess of what is not yet seen on a
    /// GPU.
    pub(super) fn seconds(self, part: Part) -> u64 {
        let (full, quick) = match part {
            Part::Kernels => (90, 90),
            Part::Answers => (240, 60),
            Part::Mixture => (45, 45),
            Part::Bench => (360, 150),
            Part::Engines => (180, 180),
            Part::Whole => (600, 300),
        };
        match self {
            Effort::Full => full,
            Effort::Quick | Effort::Rehearsal => quick,
        }
    }
}

/// The time that there is, where it is limited.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    pub(super) until: Option<Instant>,
}

impl Clock {
    /// So many minutes from now on, or all the time that it takes.
    pub(super) fn of_minutes(minutes: Option<f64>) -> Clock {
        let time = minutes.and_then(|minutes| Duration::try_from_secs_f64(60.0 * minutes).ok());
        Clock { until: time.and_then(|time| Instant::now().checked_add(time)) }
    }

    /// Whether so many seconds are left.
    ///
    /// # Errors
    /// How many are.
    pub(super) fn room_for(&self, seconds: u64) -> Result<(), String> {
        let Some(until) = self.until else { return Ok(()) };
        let left = until.saturating_duration_since(Instant::now()).as_secs();
        match left >= seconds {
            true => Ok(()),
            false => Err(format!("it takes about {seconds} s, {left} s are left")),
        }
    }
}

/// The parts with their estimates, for people.
pub(super) fn announcement(parts: &[Part], effort: Effort) -> String {
    let part = |part: &Part| format!("{} {} s", part.name(), effort.seconds(*part));
    let all: u64 = parts.iter().map(|part| effort.seconds(*part)).sum();
    let parts: Vec<_> = parts.iter().map(part).collect();
    format!("about {} minutes (estimates): {}", all.div_ceil(60), parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quick_run_fits_into_ten_minutes_with_two_to_spare() {
        let all: u64 = Part::QUICK.iter().map(|part| Effort::Quick.seconds(*part)).sum();
        assert!(all <= 8 * 60, "{all} s");
        let text = announcement(&[Part::Kernels, Part::Mixture], Effort::Full);
        assert_eq!(text, "about 3 minutes (estimates): kernels 90 s, mixture 45 s");
    }

    #[test]
    fn what_has_no_time_left_is_told() {
        Clock::of_minutes(None).room_for(u64::MAX).unwrap();
        let clock = Clock::of_minutes(Some(1.0));
        clock.room_for(30).unwrap();
        let error = clock.room_for(90).unwrap_err();
        assert!(error.starts_with("it takes about 90 s, ") && error.ends_with(" s are left"));
    }
}
