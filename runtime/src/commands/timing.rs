//! The time of every stage, in milliseconds.

use std::time::Duration;

use cumo_runtime::{GenerateTimes, ImageTimes};
use serde::Serialize;

/// Milliseconds of every stage of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Milliseconds {
    /// Opening the bundle and loading its graphs.
    load: f64,
    /// Reading and preprocessing images.
    image: f64,
    /// Vision tower.
    vision: f64,
    /// Connector.
    connector: f64,
    /// Prompt through the language model.
    prefill: f64,
    /// From the request, with the bundle loaded, to the first token; none where there is no token.
    first_token: Option<f64>,
    /// From the first token to the last.
    decode: f64,
    /// Mean time from one token to the next; none where there is one token at most.
    per_token: Option<f64>,
    /// Of `per_token`, what is not spent in the model's graphs: sampling, binding, text, printing.
    /// None where a device runs the graphs behind this program, which does all that meanwhile.
    overhead_per_token: Option<f64>,
}

impl Milliseconds {
    /// `is_behind`: whether graphs run behind the program that times them. The stages were waited
    /// for, then; the tokens behind the first were not.
    pub(crate) fn new(
        load: Duration,
        images: &ImageTimes,
        answer: &GenerateTimes,
        is_behind: bool,
    ) -> Self {
        let overhead = if is_behind { None } else { answer.overhead_per_token() };
        let image = images.decode + images.preprocess;
        let before = image + images.copy + images.vision + images.connector;
        Milliseconds {
            load: milliseconds(load + images.load),
            image: milliseconds(image),
            vision: milliseconds(images.vision),
            connector: milliseconds(images.connector),
            prefill: milliseconds(answer.prefill),
            first_token: answer.first_token.map(|time| milliseconds(before + time)),
            decode: milliseconds(answer.decode),
            per_token: answer.per_token().map(milliseconds),
            overhead_per_token: overhead.map(milliseconds),
        }
    }

    /// One line for people.
    pub(crate) fn line(&self) -> String {
        let mut line = format!(
            "load {:.1} ms, image {:.1} ms, vision {:.1} ms, connector {:.1} ms, prefill {:.1} ms, decode {:.1} ms",
            self.load, self.image, self.vision, self.connector, self.prefill, self.decode,
        );
        if let Some(first_token) = self.first_token {
            line += &format!(", first token after {first_token:.1} ms");
        }
        match (self.per_token, self.overhead_per_token) {
            (Some(per_token), Some(overhead)) => {
                line += &format!(
                    " ({per_token:.3} ms a token, {overhead:.4} ms of it outside the graphs)"
                );
            }
            (Some(per_token), None) => line += &format!(" ({per_token:.3} ms a token)"),
            (None, _) => {}
        }
        line
    }
}

/// Milliseconds to a tenth of a microsecond.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_nanos() / 100) as f64 / 10_000.0
}
