//! Ctrl-C.
//!
//! An answer that is being made is ended by it, with what there is of it. At any other time, while a
//! model is loaded for example, and the second time, it ends the program at once: there is nothing
//! that would be left half done. Other signals end the program as the system has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use cumo_runtime::CancelToken;

/// The exit code of a program that Ctrl-C ended, as shells have it.
pub(crate) const EXIT_CODE: u8 = 130;

/// What Ctrl-C does.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt {
    token: CancelToken,
    /// Whether work is being done that the token ends.
    answering: Arc<AtomicBool>,
}

/// While it lives, Ctrl-C ends work and not the program.
pub(crate) struct Answering<'a>(&'a Interrupt);

impl Interrupt {
    /// Listens to Ctrl-C from here on.
    pub(crate) fn listen() -> Result<Self> {
        let interrupt = Interrupt { token: CancelToken::new(), answering: Arc::default() };
        #[cfg(unix)]
        interrupt.clone().on_signal()?;
        Ok(interrupt)
    }

    /// The token that ends an answer.
    pub(crate) fn token(&self) -> &CancelToken {
        &self.token
    }

    /// Begins work that the token ends; Ctrl-C of before is forgotten.
    pub(crate) fn answering(&self) -> Answering<'_> {
        self.token.reset();
        self.answering.store(true, Ordering::SeqCst);
        Answering(self)
    }

    #[cfg(unix)]
    fn on_signal(self) -> Result<()> {
        use anyhow::Context;
        let signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGINT]);
        let mut signals = signals.context("waiting for Ctrl-C")?;
        let wait = move || {
            for _ in signals.forever() {
                if !self.answering.load(Ordering::SeqCst) || self.token.is_cancelled() {
                    // At once: threads that run a graph are not to see the program being taken down.
                    signal_hook::low_level::exit(EXIT_CODE.into());
                }
                self.token.cancel();
            }
        };
        std::thread::Builder::new().name("ctrl-c".to_owned()).spawn(wait)?;
        Ok(())
    }
}

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        self.0.answering.store(false, Ordering::SeqCst);
    }
}
