//! What a model needs of a device before it is exported or loaded: the memory of weights, cache and
//! activations, whether it fits, and the times that the hardware allows at best.
//!
//! A [`Subject`] is a model, by its facts, or a bundle, by its manifest; a [`Device`] is one of the
//! table, or described by numbers. [`plan`] puts one on the other for every [`Precision`] that can be
//! exported. A [`Plan`] is text through `Display` and JSON through `Serialize`; `docs/plan.md`
//! describes both, and how each number is counted.

mod bounds;
mod device;
mod error;
mod measured;
mod measured_memory;
mod memory;
mod pick;
mod plan;
mod precision;
mod side_by_side;
mod sizes;
mod subject;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod text;
mod weights;
mod work;

pub use bounds::{Bound, Bounds, DecodeBound, Limit};
pub use device::{CustomDevice, Device, Mode, Runs};
pub use error::Error;
pub use measured::{Measured, MeasuredStage};
pub use measured_memory::MeasuredMemory;
pub use pick::Best;
pub use plan::{
    FORMAT, FORMAT_VERSION, ModelReport, PartBytes, Plan, PrecisionPlan, Question, Request, RunsOn,
    plan,
};
pub use precision::Precision;
pub use side_by_side::side_by_side;
pub use sizes::ModelSizes;
pub use subject::Subject;
pub use text::device_list;
pub use weights::{Parameters, Part};
