//! The question with its images: time to first token, its parts, and the tokens behind it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use cumo_results::schema;

use super::{Bench, nanoseconds};
use crate::backend::BackendError;
use crate::error::Error;
use crate::generate::{Answer, Event, FinishReason, GenerateOptions};
use crate::model::ImageTimes;
use crate::sampling::SamplingOptions;

impl Bench<'_> {
    /// Answers the question once a repetition, as `cumo run` does, greedily and behind the token
    /// that would end the answer; nothing of the one before is in the cache.
    pub(super) fn answers(&mut self) -> Result<Vec<schema::Answer>, Error> {
        let (warmup, repetitions) = (self.options.warmup, self.options.repetitions);
        self.progress.begin("question", warmup + repetitions);
        if !self.options.images.is_empty() {
            // No repetition is to load the vision tower, also where nothing warms up.
            self.model.load_vision()?;
        }
        let mut answers = Vec::with_capacity(repetitions);
        for repetition in 0..warmup + repetitions {
            let answer = self.answer()?;
            if repetition >= warmup {
                answers.push(answer);
            }
            self.progress.step();
        }
        Ok(answers)
    }

    /// One answer. Stages are waited for until the first token is there, so that each has its own
    /// time; the tokens behind it come as fast as they do elsewhere.
    fn answer(&mut self) -> Result<schema::Answer, Error> {
        let ids = self.question();
        let options = GenerateOptions {
            // Without a token there is no time to it.
            max_new_tokens: self.options.generate_tokens.max(1),
            sampling: SamplingOptions::greedy(),
            stop: Vec::new(),
            ignore_eos: true,
        };
        self.model.forget()?;
        let executor = self.model.executor();
        // Nothing of before is to be waited for.
        executor.finish()?;
        let (measured, clock) = (executor.measured(), executor.clock().clone());
        let mut token_times = Vec::with_capacity(options.max_new_tokens);
        measured.store(true, Ordering::Relaxed);
        let start = clock.now();
        let encoded = self.model.encode_images(&self.options.images, self.cancel);
        let result = encoded.and_then(|(embeds, times)| {
            let answer = self.model.generate(&ids, &embeds, &options, self.cancel, &mut |event| {
                if let Event::Token(_) = event {
                    token_times.push(clock.now());
                    measured.store(false, Ordering::Relaxed);
                }
            });
            self.model.release_images(embeds);
            Ok((answer?, times))
        });
        measured.store(false, Ordering::Relaxed);
        let (answer, images) = result?;
        if answer.finish_reason == FinishReason::Cancelled {
            return Err(BackendError::Interrupted.into());
        }
        let total = token_times.first().map_or(Duration::ZERO, |first| first.saturating_sub(start));
        let has_images = !self.options.images.is_empty();
        Ok(schema::Answer {
            first_token: first_token(total, has_images.then_some(&images), &answer),
            inter_token_ns: gaps(&token_times),
        })
    }

    /// The tokens of answers, where they are fewer than were asked for.
    pub(super) fn fewer_tokens(&self, answers: &[schema::Answer]) -> Option<usize> {
        let tokens = answers.iter().map(|answer| answer.inter_token_ns.len() + 1).min()?;
        (tokens < self.options.generate_tokens).then_some(tokens)
    }
}

/// The parts, each of which somebody else has timed than the whole.
fn first_token(
    total: Duration,
    images: Option<&ImageTimes>,
    answer: &Answer,
) -> schema::FirstToken {
    let of_images = |time: fn(&ImageTimes) -> Duration| images.map(time).map(nanoseconds);
    let times = &answer.times;
    let graphs = &times.prefill_graphs;
    let first_token = times.first_token.unwrap_or_default();
    schema::FirstToken {
        total_ns: nanoseconds(total),
        decode_image_ns: of_images(|times| times.decode),
        preprocess_ns: of_images(|times| times.preprocess),
        copy_ns: of_images(|times| times.copy),
        vision_ns: of_images(|times| times.vision),
        connector_ns: of_images(|times| times.connector),
        splice_ns: Some(nanoseconds(graphs.embed + graphs.splice)),
        prefill_ns: Some(nanoseconds(graphs.decode)),
        first_sample_ns: Some(nanoseconds(first_token.saturating_sub(times.prefill))),
    }
}

/// From each time to the next.
fn gaps(times: &[Duration]) -> Vec<u64> {
    times.windows(2).map(|pair| nanoseconds(pair[1].saturating_sub(pair[0]))).collect()
}
