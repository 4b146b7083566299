//! What can be wrong with a question.

use thiserror::Error;

/// Why there is no plan.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The device is in no table.
    #[error("there is no device `{name}` in the table{}; `--device list` shows all, and --memory-gb, --bandwidth-gbs and --f16-tflops describe another one", did_you_mean(.near))]
    UnknownDevice {
        /// What was asked for.
        name: String,
        /// Devices with names like it.
        near: Vec<String>,
    },
    /// Of several devices one has no name.
    #[error("--device: a name is missing beside a comma")]
    NoDeviceName,
    /// The device has no such power mode.
    #[error("{device} has no mode `{mode}`; it has {known}")]
    UnknownMode {
        /// The device.
        device: String,
        /// What was asked for.
        mode: String,
        /// Those that it has.
        known: String,
    },
    /// A number that makes no sense.
    #[error("{option} {value}: {reason}")]
    Option {
        /// The option, as it is typed.
        option: &'static str,
        /// What was given.
        value: String,
        /// Why it cannot be.
        reason: String,
    },
    /// A bundle that does not tell the sizes within its layers.
    #[error(
        "the bundle of `{model}` does not tell the sizes within its layers (an older cumo-export wrote it); export it again, or plan from its checkpoint with cumo-export plan"
    )]
    NoLayerSizes {
        /// The model's name.
        model: String,
    },
    /// A size that no model has.
    #[error("the model's {name} is {value}; it must be 1 to {most}")]
    ModelSize {
        /// Which size.
        name: &'static str,
        /// What the model says.
        value: usize,
        /// The largest that is believed.
        most: usize,
    },
    /// A measurement of something else.
    #[error("the result is of `{measured}`, not of `{model}`")]
    OtherModel {
        /// The model that was measured.
        measured: String,
        /// The one that is planned.
        model: String,
    },
    /// A measurement of a precision that is not known.
    #[error(
        "the result is of target `{target}` with {dtype} weights, which is none that can be exported"
    )]
    OtherPrecision {
        /// The target that was measured.
        target: String,
        /// The type of its weights.
        dtype: String,
    },
}

fn did_you_mean(names: &[String]) -> String {
    match names {
        [] => String::new(),
        names => format!(" (did you mean {}?)", names.join(" or ")),
    }
}
