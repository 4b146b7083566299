//! Signals that must not end the program before it has tidied up.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

/// Set when the user asks the export, or the build of engines, to stop.
static INTERRUPTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// From now on Ctrl-C, SIGTERM and a terminal that goes away only make [`interrupted`] say so.
#[cfg(unix)]
pub(crate) fn watch_interrupts() -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    [SIGHUP, SIGINT, SIGTERM]
        .into_iter()
        .try_for_each(|signal| signal_hook::flag::register(signal, INTERRUPTED.clone()).map(drop))
}

/// The system's own way of ending a program is left as it is.
#[cfg(not(unix))]
pub(crate) fn watch_interrupts() -> io::Result<()> {
    Ok(())
}

/// From now on a file over the limit of `ulimit -f` is an error of the write, whose file is then
/// removed, and not the end of the program.
#[cfg(unix)]
pub(crate) fn survive_size_limits() -> io::Result<()> {
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default()).map(drop)
}

/// There are no such limits.
#[cfg(not(unix))]
pub(crate) fn survive_size_limits() -> io::Result<()> {
    Ok(())
}

/// Whether the user asked to stop.
pub(crate) fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}
