//! The loop from a prompt to an answer.

use std::time::Duration;

use cumo_bundle::ModelFacts;
use cumo_processor::Tokenizer;
use serde::Serialize;

use crate::answer_text::AnswerText;
use crate::backend::BackendError;
use crate::cancel::CancelToken;
use crate::choose::Chooser;
use crate::clock::Clock;
use crate::error::Error;
use crate::executor::{Executor, ImageEmbeds, Position};
use crate::prompt::Prompt;
use crate::sampling::{LogProbs, Sampler, SamplingOptions};
use crate::step_times::StepTimes;

/// Positions of a prompt that go through the model at once, where graphs take any number: bounds
/// the memory of a pass, and the time until it can be cancelled between two.
const PREFILL_CHUNK: usize = 256;

/// Positions of a prompt that go through the model at once: as many as graphs were built for.
pub(crate) fn piece(executor: &Executor) -> usize {
    executor.limits().sequence.unwrap_or(PREFILL_CHUNK).max(1)
}

/// The cache grows in steps of this many positions.
const CACHE_STEP: usize = 256;

/// How an answer is made.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateOptions {
    /// The longest answer in tokens. By default 512, as CuMo's command line.
    pub max_new_tokens: usize,
    /// How tokens are chosen.
    pub sampling: SamplingOptions,
    /// The answer ends before any of these strings; it needs a tokenizer. By default none.
    pub stop: Vec<String>,
    /// Goes on behind the tokens that end an answer. By default not.
    pub ignore_eos: bool,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        GenerateOptions {
            max_new_tokens: 512,
            sampling: SamplingOptions::default(),
            stop: Vec::new(),
            ignore_eos: false,
        }
    }
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model ended it.
    Stop,
    /// A stop string came.
    StopString,
    /// It has as many tokens as it may, or the context is full.
    Length,
    /// [`CancelToken::cancel`] was called.
    Cancelled,
}

/// What happens while an answer is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A token was chosen.
    Token(u32),
    /// Text is certain; never half a character, never a piece of a stop string, never white space
    /// that begins or ends the answer.
    Text(&'a str),
}

/// Time that an answer took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GenerateTimes {
    /// From the start to the prompt's last logits.
    pub prefill: Duration,
    /// From the start to the first token; none where there is no token.
    pub first_token: Option<Duration>,
    /// From the first token to the end.
    pub decode: Duration,
    /// Of `prefill`, inside graphs.
    pub prefill_graphs: StepTimes,
    /// Of `decode`, inside graphs.
    pub decode_graphs: StepTimes,
    /// Passes of the model in `decode`: one a token, without the first token's.
    pub decode_passes: usize,
}

impl GenerateTimes {
    /// Mean time from one token to the next; none where there is one token at most.
    pub fn per_token(&self) -> Option<Duration> {
        self.decode.checked_div(u32::try_from(self.decode_passes).ok()?)
    }

    /// Mean time from one token to the next that is not spent in graphs: sampling, binding, text. On
    /// a device, all but putting the graphs on it, unless stages are waited for:
    /// [`Executor::measured`].
    pub fn overhead_per_token(&self) -> Option<Duration> {
        let overhead = self.decode.saturating_sub(self.decode_graphs.graphs());
        overhead.checked_div(u32::try_from(self.decode_passes).ok()?)
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Its tokens, without the one that ended it.
    pub tokens: Vec<u32>,
    /// The token that ended it, where one did.
    pub end_token: Option<u32>,
    /// Its text, up to a stop string and without white space around it, as the original has it;
    /// none without a tokenizer.
    pub text: Option<String>,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// Positions of the prompt, images included.
    pub prompt_tokens: usize,
    /// Of these, positions of images.
    pub image_tokens: usize,
    /// Of the prompt's positions, those that were in the cache already.
    pub cached_tokens: usize,
    /// The most tokens that it could have: as many as were asked for, or fewer where the model's
    /// context has no room for them.
    pub max_new_tokens: usize,
    /// Log-probabilities of each token, where they were asked for.
    pub logprobs: Vec<LogProbs>,
    /// The seed of the draws.
    pub seed: u64,
    /// Time it took.
    pub times: GenerateTimes,
}

/// What is asked of a [`Generator`].
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The prompt, with -200 for each image.
    pub ids: &'a [i64],
    /// The images, in the order of their places in `ids`.
    pub images: &'a [ImageEmbeds],
    /// How to answer.
    pub options: &'a GenerateOptions,
    /// Makes text of the answer; without it there are tokens only.
    pub tokenizer: Option<&'a Tokenizer>,
}

/// One request being answered.
struct Work<'a> {
    clock: Clock,
    start: Duration,
    prompt: Prompt,
    images: &'a [ImageEmbeds],
    max_new_tokens: usize,
    ignore_eos: bool,
    sampler: Sampler,
    text: Option<AnswerText<'a>>,
    cancel: &'a CancelToken,
    on_event: &'a mut dyn FnMut(Event<'_>),
}

/// Makes answers, one after the other, over one cache: what a prompt has in common with the
/// positions before it is not computed again.
pub struct Generator {
    executor: Executor,
    model: ModelFacts,
    /// What is in the cache, position by position.
    cached: Vec<CachedPosition>,
    chooser: Chooser,
}

/// A position in the cache. Images are told apart by their embeddings, of which no two are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CachedPosition {
    Token(u32),
    Image { embeds: ImageEmbeds, row: usize },
}

impl Generator {
    /// A generator over an executor for a model.
    pub fn new(executor: Executor, model: ModelFacts) -> Self {
        let chooser = Chooser::new(&executor);
        Generator { executor, model, cached: Vec::new(), chooser }
    }

    /// The executor, for images and for looking at activations.
    pub fn executor(&mut self) -> &mut Executor {
        &mut self.executor
    }

    /// Forgets all that is cached; also what an executor that was used on its own has cached.
    ///
    /// # Errors
    /// [`Error::Backend`].
    pub fn forget(&mut self) -> Result<(), Error> {
        self.cached.clear();
        self.executor.truncate(0)
    }

    /// Answers a request. Whether it can be answered is checked before anything is computed.
    ///
    /// # Errors
    /// [`Error::Prompt`], [`Error::Option`], [`Error::Backend`], [`Error::NotFinite`],
    /// [`Error::NoTokenizer`] where there are stop strings and no tokenizer.
    pub fn generate(
        &mut self,
        request: &Request<'_>,
        cancel: &CancelToken,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<Answer, Error> {
        let Request { ids, images, options, tokenizer } = *request;
        let prompt = Prompt::new(ids, images.len(), &self.model)?;
        if tokenizer.is_none() && !options.stop.is_empty() {
            return Err(Error::NoTokenizer);
        }
        let room = self.model.llm.context_length - prompt.positions().len();
        let clock = self.executor.clock().clone();
        let mut work = Work {
            start: clock.now(),
            clock,
            images,
            max_new_tokens: options.max_new_tokens.min(room),
            ignore_eos: options.ignore_eos,
            sampler: Sampler::new(options.sampling.clone(), self.model.llm.vocab_size)?,
            text: tokenizer.map(|tokenizer| AnswerText::new(tokenizer, &options.stop)),
            prompt,
            cancel,
            on_event,
        };
        cancel.arm(self.executor.interrupt());
        let result = self.answer(&mut work);
        cancel.disarm();
        // Whatever happened, what the executor has is what is cached.
        self.cached.truncate(self.executor.cached());
        let mut answer = result?;
        let Work { text, on_event, .. } = work;
        if let Some(text) = text {
            let stopped = answer.finish_reason == FinishReason::StopString;
            answer.text = Some(text.finish(stopped, &mut |piece| on_event(Event::Text(piece))));
        }
        Ok(answer)
    }

    fn answer(&mut self, work: &mut Work<'_>) -> Result<Answer, Error> {
        let length = work.prompt.positions().len();
        let cached_tokens = self.reuse(&work.prompt, work.images)?;
        self.reserve(length + work.max_new_tokens, length - cached_tokens)?;
        for position in work.prompt.positions() {
            if let Position::Token(token) = position {
                work.sampler.see(*token);
            }
        }
        let mut answer = Answer {
            tokens: Vec::with_capacity(work.max_new_tokens),
            end_token: None,
            text: None,
            finish_reason: FinishReason::Length,
            prompt_tokens: length,
            image_tokens: work.prompt.image_positions(),
            cached_tokens,
            max_new_tokens: work.max_new_tokens,
            logprobs: Vec::new(),
            seed: work.sampler.seed(),
            times: GenerateTimes::default(),
        };
        self.executor.take_times();
        let prefilled =
            self.prefill(&work.prompt.positions()[cached_tokens..], work.images, work.cancel)?;
        answer.times.prefill = work.clock.since(work.start);
        answer.times.prefill_graphs = self.executor.take_times();
        if prefilled {
            self.decode(work, &mut answer)?;
        } else {
            answer.finish_reason = FinishReason::Cancelled;
        }
        answer.times.decode_graphs = self.executor.take_times();
        if let Some(first_token) = answer.times.first_token {
            answer.times.decode = work.clock.since(work.start + first_token);
        }
        Ok(answer)
    }

    /// Shortens the cache to what it has in common with a prompt, and says how much that is. The
    /// prompt's last position is always computed: its logits are what is wanted.
    fn reuse(&mut self, prompt: &Prompt, images: &[ImageEmbeds]) -> Result<usize, Error> {
        let same = |(cached, position): &(&CachedPosition, &Position)| match (cached, position) {
            (CachedPosition::Token(cached), Position::Token(token)) => cached == token,
            (CachedPosition::Image { embeds, row: cached }, Position::Image { image, row }) => {
                images.get(*image) == Some(embeds) && cached == row
            }
            _ => false,
        };
        let common = self.cached.iter().zip(prompt.positions()).take_while(same).count();
        let common = common.min(prompt.positions().len() - 1);
        self.executor.truncate(common)?;
        self.cached.truncate(common);
        Ok(common)
    }

    /// Makes room for a whole answer before work starts.
    fn reserve(&mut self, positions: usize, new: usize) -> Result<(), Error> {
        let context = self.model.llm.context_length;
        let positions = positions.next_multiple_of(CACHE_STEP).min(context);
        self.cached.reserve(positions - self.cached.len());
        self.executor.reserve(positions, new.min(piece(&self.executor)))
    }

    /// Runs a prompt's positions; says whether it came to the end.
    fn prefill(
        &mut self,
        positions: &[Position],
        images: &[ImageEmbeds],
        cancel: &CancelToken,
    ) -> Result<bool, Error> {
        for chunk in positions.chunks(piece(&self.executor)) {
            if cancel.is_cancelled() || !self.forward(chunk, images)? {
                return Ok(false);
            }
            // A device works behind its caller, which is not to be a whole prompt ahead of it.
            self.executor.finish()?;
        }
        Ok(true)
    }

    /// Runs positions; says whether they came to the end, which they do unless interrupted.
    fn forward(&mut self, positions: &[Position], images: &[ImageEmbeds]) -> Result<bool, Error> {
        match self.executor.forward(positions, images) {
            Ok(()) => {
                self.cached.extend(positions.iter().map(|position| match position {
                    Position::Token(token) => CachedPosition::Token(*token),
                    Position::Image { image, row } => {
                        CachedPosition::Image { embeds: images[*image], row: *row }
                    }
                }));
                Ok(true)
            }
            Err(Error::Backend(BackendError::Interrupted)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Chooses tokens until the answer ends.
    fn decode(&mut self, work: &mut Work<'_>, answer: &mut Answer) -> Result<(), Error> {
        while answer.tokens.len() < work.max_new_tokens {
            if work.cancel.is_cancelled() {
                answer.finish_reason = FinishReason::Cancelled;
                return Ok(());
            }
            let choice = self.chooser.choose(&mut self.executor, &mut work.sampler)?;
            if answer.tokens.is_empty() {
                answer.times.first_token = Some(work.clock.since(work.start));
            }
            (work.on_event)(Event::Token(choice.token));
            if !work.ignore_eos && self.model.llm.eos_token_ids.contains(&choice.token) {
                answer.finish_reason = FinishReason::Stop;
                answer.end_token = Some(choice.token);
                return Ok(());
            }
            answer.tokens.push(choice.token);
            answer.logprobs.extend(choice.logprobs);
            if let Some(text) = work.text.as_mut()
                && text.push(choice.token, &mut |piece| (work.on_event)(Event::Text(piece)))
            {
                answer.finish_reason = FinishReason::StopString;
                return Ok(());
            }
            if answer.tokens.len() == work.max_new_tokens {
                return Ok(());
            }
            if !self.forward(&[Position::Token(choice.token)], &[])? {
                answer.finish_reason = FinishReason::Cancelled;
                return Ok(());
            }
            answer.times.decode_passes += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "generate_tests.rs"]
mod tests;
