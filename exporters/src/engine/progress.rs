//! What a build of engines tells while it runs, and how it is told to stop.

use cumo_tensorrt::Progress as Phase;

use crate::progress::Progress;

/// Watches a build of engines, and the export before it. All methods may be called from any thread.
pub trait EngineProgress: Progress {
    /// An engine begins: the one at `index` of `count`.
    fn engine(&self, engine: &str, index: usize, count: usize);

    /// TensorRT tells how far the engine is.
    fn phase(&self, phase: Phase<'_>);

    /// The engine is there, after so many seconds; `reused`: from an earlier build.
    fn end(&self, engine: &str, bytes: usize, seconds: f64, reused: bool);
}

/// Watches nothing and never stops.
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _part: &str, _bytes: u64) {}

    fn advance(&self, _bytes: u64) {}

    fn interrupted(&self) -> bool {
        false
    }
}

impl EngineProgress for Silent {
    fn engine(&self, _engine: &str, _index: usize, _count: usize) {}

    fn phase(&self, _phase: Phase<'_>) {}

    fn end(&self, _engine: &str, _bytes: usize, _seconds: f64, _reused: bool) {}
}
