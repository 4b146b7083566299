//! What time is taken with.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Tells the time that has passed since some moment: the system's steady clock, or one that a test
/// turns by hand. Clones tell the same time.
#[derive(Clone)]
pub struct Clock {
    now: Arc<dyn Fn() -> Duration + Send + Sync>,
    sleep: Arc<dyn Fn(Duration) + Send + Sync>,
}

impl Clock {
    /// A clock that asks `time`, which must not go back.
    pub fn new(time: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Clock { now: Arc::new(time), sleep: Arc::new(std::thread::sleep) }
    }

    /// The same clock, on which time is let pass by `sleep`.
    #[must_use]
    pub fn sleeping(self, sleep: impl Fn(Duration) + Send + Sync + 'static) -> Self {
        Clock { sleep: Arc::new(sleep), ..self }
    }

    /// Time since some moment.
    pub fn now(&self) -> Duration {
        (self.now)()
    }

    /// Lets time pass.
    pub fn sleep(&self, time: Duration) {
        (self.sleep)(time);
    }

    /// Time since `start`, which this clock has told.
    pub fn since(&self, start: Duration) -> Duration {
        self.now().saturating_sub(start)
    }
}

impl Default for Clock {
    /// The system's steady clock.
    fn default() -> Self {
        let start = Instant::now();
        Clock::new(move || start.elapsed())
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({:?})", self.now())
    }
}
