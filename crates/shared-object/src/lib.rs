//! Shared objects before they are loaded.
//!
//! The system's loader maps a file as its header says. Of a file that ends too early it touches
//! pages that are not there, and the kernel ends the process (SIGBUS) instead of giving an error;
//! a pipe it waits for. So [`check`] reads the header first. What the header promises is
//! compared with what the file has, and its segments with each other, as the loader takes them on
//! trust: changes of other bytes are not noticed.

mod check;
mod elf;
mod error;
mod variable;

pub use check::check;
pub use elf::Architecture;
pub use error::Error;
pub use variable::path_variable;
