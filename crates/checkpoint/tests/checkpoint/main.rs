//! Opens checkpoints through the public API: goldens, small ones of every form, broken ones.

mod config;
mod files;
mod fixture;
mod forms;
mod goldens;
mod parts;
mod tensors;
