//! Stopping work from another thread.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::backend::Interrupt;

/// Stops an answer: between tokens and pieces of a prompt, and, where the backend can, within a
/// graph. Clones stop the same work.
#[derive(Clone, Default)]
pub struct CancelToken {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    cancelled: Arc<AtomicBool>,
    interrupt: Mutex<Option<Interrupt>>,
}

impl CancelToken {
    /// A token that has not been cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops the work that the token was given to.
    pub fn cancel(&self) {
        let interrupt = self.interrupt();
        self.shared.cancelled.store(true, Ordering::SeqCst);
        if let Some(interrupt) = interrupt.as_ref() {
            interrupt(true);
        }
    }

    /// What [`CancelToken::cancel`] sets, for a signal handler, which may do no more than that.
    /// [`CancelToken::pass_on`] from another thread does the rest.
    pub fn flag(&self) -> Arc<AtomicBool> {
        self.shared.cancelled.clone()
    }

    /// Stops the graph that runs, if the token's flag is still set: work that began since then, with
    /// [`CancelToken::reset`], goes on.
    pub fn pass_on(&self) {
        let interrupt = self.interrupt();
        if let Some(interrupt) = interrupt.as_ref()
            && self.is_cancelled()
        {
            interrupt(true);
        }
    }

    /// Makes the token as new, for the next piece of work.
    pub fn reset(&self) {
        let interrupt = self.interrupt();
        self.shared.cancelled.store(false, Ordering::SeqCst);
        if let Some(interrupt) = interrupt.as_ref() {
            interrupt(false);
        }
    }

    /// Whether [`CancelToken::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        self.shared.cancelled.load(Ordering::Relaxed)
    }

    /// Lets `interrupt` stop the graph that runs, until [`CancelToken::disarm`].
    pub(crate) fn arm(&self, interrupt: Option<Interrupt>) {
        let mut slot = self.interrupt();
        if let Some(interrupt) = interrupt.as_ref() {
            interrupt(self.is_cancelled());
        }
        *slot = interrupt;
    }

    /// Leaves the backend ready for other work.
    pub(crate) fn disarm(&self) {
        if let Some(interrupt) = self.interrupt().take() {
            interrupt(false);
        }
    }

    fn interrupt(&self) -> std::sync::MutexGuard<'_, Option<Interrupt>> {
        self.shared.interrupt.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken").field("cancelled", &self.is_cancelled()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_armed_interrupt_follows_the_token() {
        let stopped = Arc::new(AtomicBool::new(false));
        let seen = stopped.clone();
        let token = CancelToken::new();
        token.arm(Some(Arc::new(move |stop| seen.store(stop, Ordering::SeqCst))));
        token.clone().cancel();
        assert!(token.is_cancelled() && stopped.load(Ordering::SeqCst));
        token.disarm();
        assert!(token.is_cancelled() && !stopped.load(Ordering::SeqCst));
        token.reset();
        assert!(!token.is_cancelled());
    }

    #[test]
    fn a_set_flag_stops_the_graph_unless_other_work_has_begun() {
        let stopped = Arc::new(AtomicBool::new(false));
        let seen = stopped.clone();
        let token = CancelToken::new();
        token.arm(Some(Arc::new(move |stop| seen.store(stop, Ordering::SeqCst))));
        token.flag().store(true, Ordering::SeqCst);
        assert!(token.is_cancelled());
        token.pass_on();
        assert!(stopped.load(Ordering::SeqCst));

        // Of a signal that came before the work began, which is passed on late.
        token.reset();
        token.pass_on();
        assert!(!token.is_cancelled() && !stopped.load(Ordering::SeqCst));
    }
}
