//! End-to-end and golden tests across the crates
