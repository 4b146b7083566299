//! Ctrl-C.
//!
//! An answer that is being made is ended by it, with what there is of it. At any other time, while a
//! model is loaded for example, and the second time, it ends the program at once: there is nothing
//! that would be left half done. Other signals end the program as the system has it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use cumo_runtime::CancelToken;

/// The exit code of a program that Ctrl-C ended, as shells have it.
pub(crate) const EXIT_CODE: u8 = 130;

/// What Ctrl-C does.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt {
    token: CancelToken,
    /// Whether Ctrl-C ends the program, and not the answer.
    ends_program: Arc<AtomicBool>,
}

/// While it lives, Ctrl-C ends work and not the program.
pub(crate) struct Answering<'a>(&'a Interrupt);

impl Interrupt {
    /// Listens to Ctrl-C from here on.
    pub(crate) fn listen() -> Result<Self> {
        let interrupt =
            Interrupt { token: CancelToken::new(), ends_program: Arc::new(AtomicBool::new(true)) };
        interrupt.on_signal().context("waiting for Ctrl-C")?;
        Ok(interrupt)
    }

    /// The token that ends an answer.
    pub(crate) fn token(&self) -> &CancelToken {
        &self.token
    }

    /// Begins work that the token ends; Ctrl-C of before is forgotten.
    pub(crate) fn answering(&self) -> Answering<'_> {
        self.token.reset();
        self.ends_program.store(false, Ordering::SeqCst);
        Answering(self)
    }

    #[cfg(unix)]
    fn on_signal(&self) -> io::Result<()> {
        use signal_hook::consts::SIGINT;
        use signal_hook::{flag, iterator::Signals};
        // In the handler itself: a thread may have to wait for a lock of the loader, and threads that
        // run a graph are not to see the program being taken down.
        flag::register_conditional_shutdown(SIGINT, EXIT_CODE.into(), self.ends_program.clone())?;
        flag::register(SIGINT, self.ends_program.clone())?;
        // There, too, so that a signal counts for the work at its time, and not for what has begun
        // when the thread comes to it.
        flag::register(SIGINT, self.token.flag())?;
        let mut signals = Signals::new([SIGINT])?;
        let token = self.token.clone();
        let wait = move || signals.forever().for_each(|_| token.pass_on());
        std::thread::Builder::new().name("ctrl-c".to_owned()).spawn(wait).map(drop)
    }

    /// The system's own way of ending a program is left as it is.
    #[cfg(not(unix))]
    fn on_signal(&self) -> io::Result<()> {
        Ok(())
    }
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

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        self.0.ends_program.store(true, Ordering::SeqCst);
    }
}
