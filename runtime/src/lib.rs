//! Runs CuMo bundles: images and text in, an answer out.
//!
//! A [`Model`] is an opened bundle on a backend. It turns images into embeddings, prompts into
//! positions, and positions into tokens, with one executor that walks the bundle's plan whatever
//! the target, behind a small [`backend::Backend`] trait.

mod activations;
mod answer_text;
pub mod backend;
pub mod backends;
mod cache;
mod cancel;
mod conversation;
mod error;
mod executor;
mod generate;
pub mod machine;
mod model;
mod prompt;
mod sampling;
mod shape;
mod step;
mod step_times;
mod stop;
mod tensor;
#[cfg(test)]
mod testing;

pub use cancel::CancelToken;
pub use conversation::Conversation;
pub use error::{Error, PromptError};
pub use executor::{Executor, ImageEmbeds, Position};
pub use generate::{
    Answer, Event, FinishReason, GenerateOptions, GenerateTimes, Generator, Request,
};
pub use model::{ImageTimes, Model, ModelOptions, question_text};
pub use prompt::Prompt;
pub use sampling::{Choice, LogProbs, Sampler, SamplingOptions, TokenLogProb};
pub use step_times::StepTimes;
pub use stop::{Passed, StopStrings};
pub use tensor::HostTensor;
