//! Energy of images and of tokens, in spans of their own that are long enough for a sensor.

use std::time::Duration;

use cumo_results::schema::{Energy, EnergySpan};

use super::{Bench, nanoseconds};
use crate::choose::Chooser;
use crate::error::Error;
use crate::executor::Position;
use crate::power::{PowerError, PowerSensor};
use crate::sampling::{Sampler, SamplingOptions};

/// The shortest span, unless a sensor is a test's: NVML's counter moves some ten times a second.
pub const ENERGY_SPAN: Duration = Duration::from_secs(2);

/// The most spans until a machine that rests is taken as settled: a card that has worked keeps its
/// clocks for a while, and its fans and converters what heat they have.
const MOST_RESTS: usize = 20;

/// Power falls as long as a span's is below the one's before by more than this share.
const FALLING: f64 = 0.02;

/// A machine at rest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rest {
    /// The last span.
    pub span: EnergySpan,
    /// Whether the power had stopped falling.
    pub is_settled: bool,
}

impl Bench<'_> {
    /// Measures the machine with the model loaded and nothing to do: spans of rest until the power
    /// has stopped falling, twice in a row, or there were many of them; gives the last.
    ///
    /// # Errors
    /// [`BackendError::Interrupted`](crate::backend::BackendError::Interrupted) where it was
    /// cancelled. That a sensor does not answer is the inner result.
    pub fn rest(
        &mut self,
        sensor: &mut PowerSensor,
        span: Duration,
    ) -> Result<Result<Rest, PowerError>, Error> {
        self.progress.begin("power at rest", MOST_RESTS);
        // What is under way is no rest.
        self.model.executor().finish()?;
        let (mut before, mut steady, mut number) = (f64::INFINITY, 0, 0);
        loop {
            let span = match self.span(sensor, |bench| bench.do_nothing(span).map(|()| 0))? {
                Ok(span) => span,
                Err(error) => return Ok(Err(error)),
            };
            let watts = span.watts().unwrap_or(0.0);
            steady = if watts < before * (1.0 - FALLING) { 0 } else { steady + 1 };
            (before, number) = (watts, number + 1);
            if steady == 2 || number == MOST_RESTS {
                return Ok(Ok(Rest { span, is_settled: steady == 2 }));
            }
        }
    }

    /// Measures images and tokens for `span` each, once every repetition, three times at most, and
    /// then the machine at rest.
    ///
    /// # Errors
    /// As [`Bench::run`]. That a sensor does not answer is no error of the benchmark: it is the
    /// inner result.
    pub fn energy(
        &mut self,
        sensor: &mut PowerSensor,
        span: Duration,
    ) -> Result<Result<(Energy, Rest), PowerError>, Error> {
        let spans = self.options.repetitions.clamp(1, 3);
        let has_images = !self.options.images.is_empty();
        self.progress.begin("energy", spans * (1 + usize::from(has_images)));
        let mut energy = Energy {
            sensor: sensor.name().to_owned(),
            scope: sensor.scope().to_owned(),
            ..Energy::default()
        };
        for _ in 0..spans {
            if has_images {
                match self.span(sensor, |bench| bench.encode_for(span))? {
                    Ok(images) => energy.images.push(images),
                    Err(error) => return Ok(Err(error)),
                }
            }
            match self.span(sensor, |bench| bench.generate_for(span))? {
                Ok(tokens) => energy.tokens.push(tokens),
                Err(error) => return Ok(Err(error)),
            }
        }
        self.model.forget()?;
        Ok(self.rest(sensor, span)?.map(|rest| {
            energy.idle_after = Some(rest.span);
            (energy, rest)
        }))
    }

    /// Work that tells how often it was done, under a sensor's eyes.
    fn span(
        &mut self,
        sensor: &mut PowerSensor,
        work: impl FnOnce(&mut Self) -> Result<u64, Error>,
    ) -> Result<Result<EnergySpan, PowerError>, Error> {
        let (count, energy) = sensor.measure(|| work(self));
        let count = count?;
        self.progress.step();
        Ok(energy.map(|energy| EnergySpan {
            joules: energy.joules,
            duration_ns: nanoseconds(energy.duration),
            count,
        }))
    }

    /// Does nothing.
    fn do_nothing(&mut self, span: Duration) -> Result<(), Error> {
        let clock = self.model.executor().clock().clone();
        let start = clock.now();
        while clock.since(start) < span {
            self.check_cancelled()?;
            clock.sleep(Duration::from_millis(10).min(span));
        }
        Ok(())
    }

    /// Encodes the images over and over; says how many there were. Encoding waits for its end, so
    /// that none is under way that is not counted.
    fn encode_for(&mut self, span: Duration) -> Result<u64, Error> {
        let clock = self.model.executor().clock().clone();
        let (start, mut count) = (clock.now(), 0);
        while count == 0 || clock.since(start) < span {
            let (embeds, _) = self.model.encode_images(&self.options.images, self.cancel)?;
            self.check_cancelled()?;
            count += embeds.len() as u64;
            self.model.release_images(embeds);
        }
        Ok(count)
    }

    /// Runs random tokens one by one and chooses the next as an answer does, from an empty context
    /// again as often as an answer's tokens are in it; says how many.
    fn generate_for(&mut self, span: Duration) -> Result<u64, Error> {
        let context = self.model.facts().llm.context_length;
        let tokens = self.options.generate_tokens.clamp(1, context);
        self.interruptible(|bench| {
            let clock = bench.model.executor().clock().clone();
            bench.model.forget()?;
            // As an answer does, so that the cache is not moved while it grows.
            bench.model.executor().reserve(tokens, 1)?;
            let vocab = bench.model.facts().llm.vocab_size;
            let mut sampler = Sampler::new(SamplingOptions::greedy(), vocab)?;
            let mut chooser = Chooser::new(bench.model.executor());
            let (start, mut count) = (clock.now(), 0);
            for token in bench.random(1) {
                if count > 0 && clock.since(start) >= span {
                    break;
                }
                bench.check_cancelled()?;
                let executor = bench.model.executor();
                if executor.cached() == tokens {
                    executor.truncate(0)?;
                }
                executor.forward(&[Position::Token(token)], &[])?;
                chooser.choose(executor, &mut sampler)?;
                count += 1;
            }
            Ok(count)
        })
    }
}
