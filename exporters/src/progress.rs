//! What an export tells while it runs, and how it is told to stop.

/// Watches an export. All methods may be called from any thread.
pub trait Progress: Sync {
    /// A part begins, of which `bytes` bytes will be written.
    fn begin(&self, part: &str, bytes: u64);

    /// `bytes` more bytes of the part are written.
    fn advance(&self, bytes: u64);

    /// Whether the export is to stop.
    fn interrupted(&self) -> bool;
}

/// Watches nothing and never stops.
pub struct Quiet;

impl Progress for Quiet {
    fn begin(&self, _part: &str, _bytes: u64) {}

    fn advance(&self, _bytes: u64) {}

    fn interrupted(&self) -> bool {
        false
    }
}
