//! The program's commands, one file each.

pub(crate) mod bench;
mod board;
pub(crate) mod chat;
pub(crate) mod console;
pub(crate) mod doctor;
mod doctor_tensorrt;
pub(crate) mod eval;
mod images;
pub(crate) mod interrupt;
pub(crate) mod plan;
pub(crate) mod run;
pub(crate) mod timing;
pub(crate) mod tokenize;
pub(crate) mod verify;
