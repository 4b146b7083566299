//! Ctrl-C.

use std::process;

use anyhow::{Context, Result};
use cumo_runtime::backend::BackendError;
use cumo_runtime::{CancelToken, Error};

/// The exit code of a program that Ctrl-C ended, as shells have it.
pub(crate) const EXIT_CODE: u8 = 130;

/// A token that Ctrl-C cancels. A second Ctrl-C ends the program, unless the token was reset
/// meanwhile.
pub(crate) fn token() -> Result<CancelToken> {
    let token = CancelToken::new();
    let shared = token.clone();
    ctrlc::set_handler(move || {
        if shared.is_cancelled() {
            process::exit(EXIT_CODE.into());
        }
        shared.cancel();
    })
    .context("waiting for Ctrl-C")?;
    Ok(token)
}

/// Whether an error is Ctrl-C's doing.
pub(crate) fn is_cause_of(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Error::Backend(BackendError::Interrupted)))
}
