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

impl Bench<'_> {
    /// Measures the idle machine, images and tokens for `span` each, once every repetition but the
    /// first, which is idle.
    ///
    /// # Errors
    /// As [`Bench::run`]. That a sensor does not answer is no error of the benchmark: it is the
    /// inner result.
    pub fn energy(
        &mut self,
        sensor: &mut PowerSensor,
        span: Duration,
    ) -> Result<Result<Energy, PowerError>, Error> {
        let spans = self.options.repetitions.clamp(1, 3);
        self.progress.begin("energy", 1 + 2 * spans);
        let mut energy = Energy {
            sensor: sensor.name().to_owned(),
            scope: sensor.scope().to_owned(),
            ..Energy::default()
        };
        match self.span(sensor, |bench| bench.rest(span).map(|()| 0))? {
            Ok(idle) => energy.idle = Some(idle),
            Err(error) => return Ok(Err(error)),
        }
        for _ in 0..spans {
            if !self.options.images.is_empty() {
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
        Ok(Ok(energy))
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
    fn rest(&mut self, span: Duration) -> Result<(), Error> {
        let clock = self.model.executor().clock().clone();
        let start = clock.now();
        while clock.since(start) < span {
            self.check_cancelled()?;
            std::thread::sleep(Duration::from_millis(10).min(span));
        }
        Ok(())
    }

    /// Encodes the images over and over; says how many there were.
    fn encode_for(&mut self, span: Duration) -> Result<u64, Error> {
        let clock = self.model.executor().clock().clone();
        let (start, mut count) = (clock.now(), 0);
        while count == 0 || clock.since(start) < span {
            let (embeds, _) = self.model.encode_images(&self.options.images, self.cancel)?;
            self.check_cancelled()?;
            count += embeds.len() as u64;
            self.model.release_images(embeds);
        }
        self.model.executor().finish()?;
        Ok(count)
    }

    /// Runs random tokens one by one and chooses the next as an answer does, from an empty context as often as it is full; says how many.
    fn generate_for(&mut self, span: Duration) -> Result<u64, Error> {
        let context = self.model.facts().llm.context_length;
        let tokens = self.options.generate_tokens.clamp(1, context);
        self.interruptible(|bench| {
            let clock = bench.model.executor().clock().clone();
            bench.model.forget()?;
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
