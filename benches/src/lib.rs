//! What the benchmarks share: numbers to work on, and what is said about times.

mod random;
mod times;

pub use random::Random;
pub use times::Times;
