//! What work on a stream keeps alive.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Device memory, an execution context or a graph: what the device uses after a call returned.
pub(crate) type Used = Arc<dyn Any + Send + Sync>;

/// What a stream's work uses: kept until the stream was waited for, or, of work that is recorded,
/// for as long as the graph is there.
#[derive(Default)]
pub(crate) struct Work {
    /// By address, so that what is used again is kept once.
    in_flight: BTreeMap<usize, Used>,
    recorded: Option<BTreeMap<usize, Used>>,
}

impl Work {
    /// Keeps something that is about to be used.
    pub(crate) fn uses(&mut self, used: Used) {
        let address = Arc::as_ptr(&used).cast::<()>() as usize;
        self.recorded.as_mut().unwrap_or(&mut self.in_flight).insert(address, used);
    }

    /// From here on, work is recorded.
    pub(crate) fn begin(&mut self) {
        self.recorded = Some(BTreeMap::new());
    }

    /// Ends the recording, and gives what it uses.
    pub(crate) fn end(&mut self) -> Vec<Used> {
        self.recorded.take().unwrap_or_default().into_values().collect()
    }

    pub(crate) fn is_recorded(&self) -> bool {
        self.recorded.is_some()
    }

    /// Gives what is no longer used, now that the stream was waited for.
    #[must_use = "dropping it frees it"]
    pub(crate) fn finish(&mut self) -> Vec<Used> {
        std::mem::take(&mut self.in_flight).into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_twice_is_kept_once_and_until_it_is_done() {
        let mut work = Work::default();
        let buffer = Arc::new(1_u64);
        for _ in 0..3 {
            work.uses(buffer.clone());
        }
        assert_eq!(Arc::strong_count(&buffer), 2);
        drop(work.finish());
        assert_eq!(Arc::strong_count(&buffer), 1);
    }

    #[test]
    fn what_is_recorded_outlives_what_is_in_flight() {
        let mut work = Work::default();
        let (before, recorded) = (Arc::new(1_u64), Arc::new(2_u64));
        work.uses(before.clone());
        work.begin();
        work.uses(recorded.clone());
        let of_graph = work.end();
        assert!(!work.is_recorded());
        drop(work.finish());
        assert_eq!((Arc::strong_count(&before), Arc::strong_count(&recorded)), (1, 2));
        drop(of_graph);
        assert_eq!(Arc::strong_count(&recorded), 1);
    }
}
