//! What the benchmarks share: numbers to work on, and what is said about times.

mod mixture;
pub mod moe_engine;
mod random;
mod times;

pub use mixture::clip_l;
pub use random::Random;
pub use times::Times;
