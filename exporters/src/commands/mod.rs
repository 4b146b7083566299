//! One file a command: flags in, one library call, text out.

pub(crate) mod engine;
pub(crate) mod inspect;
pub(crate) mod onnx;
pub(crate) mod plan;

use cumo_export::sources::Unneeded;

/// Says which folders were given for nothing.
fn warn_unneeded(unneeded: &[Unneeded]) {
    for folder in unneeded {
        let (flag, what) = match folder {
            Unneeded::Llm => ("--llm", "the checkpoint has the LLM's weights"),
            Unneeded::Clip => ("--clip", "the checkpoint has the vision tower"),
        };
        eprintln!("warning: nothing was taken from {flag}: {what}");
    }
}
