//! Runs CuMo bundles: images and text in, an answer out.
//!
//! A [`Model`] is an opened bundle on a backend. It turns images into embeddings, prompts into
//! positions, and positions into tokens, with one executor that walks the bundle's plan whatever
//! the target, behind a small [`backend::Backend`] trait.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use cumo_processor::Message;
//! use cumo_runtime::{CancelToken, Event, GenerateOptions, Model, ModelOptions, question_text};
//!
//! let mut model = Model::open("bundle".as_ref(), &ModelOptions::default())?;
//! let cancel = CancelToken::new();
//! let (images, _) = model.encode_images(&["cat.png".into()], &cancel)?;
//! let question = question_text("What is on the table?", images.len())?;
//! let ids = model.tokenize(None, None, &[Message::user(question), Message::answer()])?;
//! let options = GenerateOptions::default();
//! let answer = model.generate(&ids, &images, &options, &cancel, &mut |event| {
//!     if let Event::Text(text) = event {
//!         print!("{text}");
//!     }
//! })?;
//! println!("\n{:?} after {} tokens", answer.finish_reason, answer.tokens.len());
//! # Ok(())
//! # }
//! ```

mod actions;
mod activations;
mod answer_text;
pub mod backend;
pub mod backends;
pub mod bench;
mod cache;
mod cancel;
mod choose;
mod clock;
mod conversation;
mod error;
mod executor;
mod generate;
mod identity;
pub mod machine;
mod memory_plan;
mod model;
pub mod power;
mod prompt;
mod sampling;
mod shape;
mod step;
mod step_times;
mod stop;
mod tensor;
#[cfg(test)]
mod testing;
mod weights;

pub use cancel::CancelToken;
pub use clock::Clock;
pub use conversation::Conversation;
pub use error::{Error, PromptError};
pub use executor::{Executor, ImageEmbeds, Position};
pub use generate::{
    Answer, Event, FinishReason, GenerateOptions, GenerateTimes, Generator, Request,
};
pub use identity::Identity;
pub use model::{ImageSource, ImageTimes, Model, ModelOptions, question_text};
pub use prompt::Prompt;
pub use sampling::{Choice, LogProbs, Sampler, SamplingOptions, TokenLogProb};
pub use step_times::StepTimes;
pub use stop::{Passed, StopStrings};
pub use tensor::HostTensor;
