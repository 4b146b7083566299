//! How long programs may run that this one starts: not at all limited, unless it is said.
//!
//! A program that hangs on a device would otherwise hold it, and keep the results of those before it
//! from being written.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// What is said of a program that was stopped.
pub(crate) const OVER: &str = "its time was up";

thread_local! {
    /// Programs are started by the thread that says how long they may run.
    static LIMITS: Cell<Limits> = const { Cell::new(Limits { each: None, until: None }) };
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    each: Option<Duration>,
    until: Option<Instant>,
}

/// Limits that hold until this is dropped.
pub(crate) struct Limited(Limits);

impl Drop for Limited {
    fn drop(&mut self) {
        LIMITS.set(self.0);
    }
}

/// From now on no program that this thread starts runs longer than `each`.
pub(crate) fn for_this_thread(each: Duration) -> Limited {
    set(Some(each), LIMITS.get().until)
}

/// From now on no program that this thread starts runs beyond `until`.
pub(crate) fn until(until: Instant) -> Limited {
    set(LIMITS.get().each, Some(until))
}

fn set(each: Option<Duration>, until: Option<Instant>) -> Limited {
    Limited(LIMITS.replace(Limits { each, until }))
}

/// When a program that starts now has to end; none where it has all the time that it needs.
pub(crate) fn end_of_program() -> Option<Instant> {
    let Limits { each, until } = LIMITS.get();
    let each = each.and_then(|each| Instant::now().checked_add(each));
    each.into_iter().chain(until).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearer_limit_counts_and_goes_with_its_guard() {
        assert_eq!(end_of_program(), None);
        let now = Instant::now();
        let soon = now + Duration::from_secs(5);
        {
            let _all = until(soon);
            assert_eq!(end_of_program(), Some(soon));
            let long = for_this_thread(Duration::from_secs(60));
            assert_eq!(end_of_program(), Some(soon));
            drop(long);
            let _short = for_this_thread(Duration::from_secs(1));
            assert!(end_of_program().unwrap() < soon);
        }
        assert_eq!(end_of_program(), None);
    }
}
