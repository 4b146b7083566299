//! Benchmarks across the crates
