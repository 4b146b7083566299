//! Walks a bundle's plan: which graph runs when, over which memory.
//!
//! The executor knows phases, activations, the cache and shapes; it does not know what runs a
//! graph. A plan of four steps and one of a step a layer are walked alike: each step is prepared
//! once, each of its inputs and outputs is bound to memory, and bound again only when its shape or
//! its memory changed. Memory is made before work starts, for the largest shapes of the request.

mod candidates;
mod images;
mod load;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cumo_bundle::{Bundle, Dtype, Manifest, Phase, names};

use crate::activations::{Activations, Placed};
use crate::backend::{Action, Backend, BackendFacts, BackendLimits, Interrupt};
use crate::cache::Cache;
use crate::clock::Clock;
use crate::error::Error;
use crate::shape::Sizes;
use crate::step::{PreparedStep, Stage};
use crate::step_times::StepTimes;
use crate::tensor::{self, HostTensor};
use crate::weights::Weights;
pub use images::ImageEmbeds;
use images::ImageMemory;

/// One position of a pass's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// A token of the vocabulary.
    Token(u32),
    /// A row of an image's embeddings.
    Image {
        /// Which of the images that are given beside.
        image: usize,
        /// Which of its tokens.
        row: usize,
    },
}

/// Runs the phases of a bundle's plan on a backend.
pub struct Executor {
    backend: Box<dyn Backend>,
    folder: PathBuf,
    manifest: Manifest,
    /// Steps of each phase, once it was loaded.
    phases: [Option<Vec<PreparedStep>>; 3],
    /// The largest sizes that each phase's activations have room for.
    room: [Sizes; 3],
    activations: Activations,
    weights: Weights,
    cache: Cache,
    clock: Clock,
    /// Whether stages are waited for.
    measured: Arc<AtomicBool>,
    times: StepTimes,
    bytes: Vec<u8>,
    ids: Vec<i64>,
    /// What [`Executor::candidates`] read.
    candidates: Vec<f32>,
    /// Of the pass that runs.
    actions: Vec<Action>,
    image_memory: ImageMemory,
}

impl Executor {
    /// An executor for an opened bundle. Nothing is loaded yet.
    ///
    /// # Errors
    /// [`Error::UnknownSymbol`] where the cache has sizes that this program does not know.
    pub fn new(bundle: &Bundle, backend: Box<dyn Backend>) -> Result<Self, Error> {
        Ok(Executor {
            backend,
            folder: bundle.path.clone(),
            cache: Cache::new(&bundle.manifest.plan.cache)?,
            manifest: bundle.manifest.clone(),
            phases: [None, None, None],
            room: [Sizes::default(); 3],
            activations: Activations::default(),
            weights: Weights::default(),
            clock: Clock::default(),
            measured: Arc::default(),
            times: StepTimes::default(),
            bytes: Vec::new(),
            ids: Vec::new(),
            candidates: Vec::new(),
            actions: Vec::new(),
            image_memory: ImageMemory::default(),
        })
    }

    /// What runs the steps.
    pub fn backend(&self) -> BackendFacts {
        self.backend.facts()
    }

    /// The sizes that the graphs were built for.
    pub fn limits(&self) -> BackendLimits {
        self.backend.limits()
    }

    /// What the user should know since the last call, a sentence each.
    pub fn take_notes(&mut self) -> Vec<String> {
        self.backend.take_notes()
    }

    /// What the plan and its graphs are.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What time is taken with.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Takes time with another clock, for tests that know how long things take.
    pub fn set_clock(&mut self, clock: Clock) {
        self.clock = clock;
    }

    /// A switch: while it is set, a stage is waited for at its end, so that
    /// [`Executor::take_times`] gives all of its time, since a device works behind its caller. It is
    /// not set at first, as waiting takes time itself.
    pub fn measured(&self) -> Arc<AtomicBool> {
        self.measured.clone()
    }

    /// Waits until everything that was asked for has been computed.
    ///
    /// # Errors
    /// [`Error::Backend`].
    pub fn finish(&mut self) -> Result<(), Error> {
        Ok(self.backend.finish()?)
    }

    /// A way to stop the graph that runs.
    pub fn interrupt(&self) -> Option<Interrupt> {
        self.backend.interrupt()
    }

    /// Positions that are in the cache.
    pub fn cached(&self) -> usize {
        self.cache.length()
    }

    /// Positions that the cache has room for.
    pub fn capacity(&self) -> usize {
        self.cache.capacity()
    }

    /// Bytes of the cache.
    pub fn cache_bytes(&self) -> usize {
        self.cache.bytes()
    }

    /// Makes room for `positions` in the cache (as many as the next rung of the plan's ladder has,
    /// where there is one), and for passes of up to `sequence` positions, so that no later pass
    /// allocates.
    ///
    /// # Errors
    /// [`Error::BeyondCache`]; [`Error::Backend`] where there is no memory for it.
    pub fn reserve(&mut self, positions: usize, sequence: usize) -> Result<(), Error> {
        self.load(Phase::EmbedTokens)?;
        self.load(Phase::Decode)?;
        let rung = self.rung(positions)?;
        let positions = self.backend.limits().cache.map_or(rung, |all| all.max(rung));
        self.cache.reserve(self.backend.as_mut(), positions)?;
        let capacity = self.cache.capacity();
        let sizes =
            Sizes { sequence, past: capacity, capacity, attended: capacity, ..Sizes::default() };
        self.make_room(Phase::EmbedTokens, sizes)?;
        self.make_room(Phase::Decode, sizes)?;
        self.check_splice()
    }

    /// The rung of the plan's ladder that holds `positions`; as many where there is no ladder.
    fn rung(&self, positions: usize) -> Result<usize, Error> {
        let attended = &self.manifest.plan.attended;
        match (attended.iter().find(|rung| **rung >= positions), attended.last()) {
            (Some(rung), _) => Ok(*rung),
            (None, None) => Ok(positions),
            (None, Some(longest)) => Err(Error::BeyondCache { positions, longest: *longest }),
        }
    }

    /// Forgets the cached positions behind the first `length`.
    ///
    /// # Errors
    /// [`Error::Backend`]; the cache is then empty.
    pub fn truncate(&mut self, length: usize) -> Result<(), Error> {
        self.cache.truncate(self.backend.as_mut(), length)
    }

    /// Runs positions through the language model, behind those that are cached, and leaves their
    /// logits. `images` are those that [`Position::Image`] counts from. What was not reserved
    /// before is made room for now.
    ///
    /// # Errors
    /// [`Error::Backend`]; the cache is then as before, or empty where it could not be moved or made
    /// larger for the pass.
    pub fn forward(&mut self, positions: &[Position], images: &[ImageEmbeds]) -> Result<(), Error> {
        let (past, sequence) = (self.cache.length(), positions.len());
        let room = self.room[Phase::Decode as usize].sequence;
        if past + sequence > self.cache.capacity() || sequence > room {
            self.reserve(past + sequence, sequence)?;
        }
        let (capacity, attended) = (self.cache.capacity(), self.rung(past + sequence)?);
        let sizes = Sizes { sequence, past, capacity, attended, ..Sizes::default() };
        // Images get some token's embedding first, which is written over below.
        let bos = self.manifest.model.llm.bos_token_id;
        self.ids.clear();
        self.ids.extend(positions.iter().map(|position| match position {
            Position::Token(id) => i64::from(*id),
            Position::Image { .. } => i64::from(bos),
        }));
        self.write_integers(names::INPUT_IDS)?;
        self.run(Phase::EmbedTokens, sizes)?;
        if positions.iter().any(|position| matches!(position, Position::Image { .. })) {
            let start = self.clock.now();
            self.splice(positions, images)?;
            self.end_stage(Stage::Splice, start)?;
        }
        self.ids.clear();
        self.ids.extend((past..past + sequence).map(|position| position as i64));
        self.write_integers(names::POSITION_IDS)?;
        self.ids.truncate(1);
        self.write_integers(names::WRITE_INDICES)?;
        let start = self.clock.now();
        if self.cache.lay_out(self.backend.as_mut(), attended)? {
            self.end_stage(Stage::Decode, start)?;
        }
        self.run(Phase::Decode, sizes)?;
        self.cache.advance(sequence);
        Ok(())
    }

    /// Copies the logits of the last position into `scores`, `[vocab]`.
    ///
    /// # Errors
    /// [`Error::NotFinite`] where one of them is NaN or plus infinity.
    pub fn logits(&mut self, scores: &mut Vec<f32>) -> Result<(), Error> {
        let logits = self.activations.require(names::LOGITS)?;
        let vocab = self.activations.shape(names::LOGITS).last().copied().unwrap_or(0);
        let rows = self.activations.shape(names::LOGITS).iter().rev().skip(1).product::<usize>();
        let row_bytes = vocab * logits.dtype.size();
        let offset = rows.saturating_sub(1) * row_bytes;
        let bytes = self.backend.read(logits.buffer, offset, row_bytes)?;
        tensor::decode(bytes, logits.dtype, scores);
        match scores.iter().position(|score| score.is_nan() || *score == f32::INFINITY) {
            None => Ok(()),
            Some(token) => {
                let (position, value) = (self.cache.length(), scores[token]);
                Err(Error::NotFinite { position, token, value })
            }
        }
    }

    /// Copies an activation of the last pass of its phase to the host.
    ///
    /// # Errors
    /// [`Error::NoActivation`] where the plan has none of this name, or its phase has not run.
    pub fn activation(&mut self, name: &str) -> Result<HostTensor, Error> {
        let activation = self.activations.require(name)?;
        let shape = self.activations.shape(name).to_vec();
        let bytes = shape.iter().product::<usize>() * activation.dtype.size();
        let mut values = Vec::new();
        let bytes = self.backend.read(activation.buffer, 0, bytes)?;
        tensor::decode(bytes, activation.dtype, &mut values);
        Ok(HostTensor { shape, values })
    }

    /// Time of stages since the last call.
    pub fn take_times(&mut self) -> StepTimes {
        std::mem::take(&mut self.times)
    }

    fn run(&mut self, phase: Phase, sizes: Sizes) -> Result<(), Error> {
        let Some(steps) = self.phases[phase as usize].as_mut() else {
            return Err(Error::NoActivation(format!("{phase:?}")));
        };
        for step in steps.iter_mut() {
            step.bind(self.backend.as_mut(), &sizes, &mut self.activations, &self.cache)?;
        }
        // Passes of one position come one after another.
        let repeats = phase == Phase::Decode && sizes.sequence == 1;
        let measured = self.measured.load(Ordering::Relaxed);
        let mut stage_start = self.clock.now();
        for together in steps.chunk_by(|step, next| step.stage() == next.stage()) {
            let Some(stage) = together.first().map(PreparedStep::stage) else { continue };
            self.actions.clear();
            for step in together {
                step.add_actions(&sizes, &self.activations, &self.cache, &mut self.actions)?;
            }
            let start = self.clock.now();
            let result = self.backend.run_all(&self.actions, repeats);
            if !measured {
                self.times.add(stage, self.clock.since(start));
            }
            result?;
            if measured {
                self.backend.finish()?;
                self.times.add(stage, self.clock.since(stage_start));
                stage_start = self.clock.now();
            }
        }
        Ok(())
    }

    /// Counts a stage without graphs, which is waited for where that is wanted.
    fn end_stage(&mut self, stage: Stage, start: Duration) -> Result<(), Error> {
        if self.measured.load(Ordering::Relaxed) {
            self.backend.finish()?;
        }
        self.times.add(stage, self.clock.since(start));
        Ok(())
    }

    /// Sees to it that a phase's activations have memory for the given sizes.
    fn make_room(&mut self, phase: Phase, sizes: Sizes) -> Result<(), Error> {
        let room = &mut self.room[phase as usize];
        let larger = Sizes {
            images: room.images.max(sizes.images),
            crops: room.crops.max(sizes.crops),
            sequence: room.sequence.max(sizes.sequence),
            past: room.past.max(sizes.past),
            capacity: room.capacity.max(sizes.capacity),
            attended: room.attended.max(sizes.attended),
        };
        let steps = self.phases[phase as usize].as_deref().unwrap_or_default();
        if *room == larger && !steps.is_empty() {
            return Ok(());
        }
        for step in steps {
            step.make_room(self.backend.as_mut(), &larger, &mut self.activations)?;
        }
        *room = larger;
        self.write_constant(names::ATTENTION_MASK, |_| 1)?;
        self.write_constant(names::CACHE_POSITIONS, |index| index as i64)
    }

    /// Fills an activation of integers that is the same in every pass, where its memory is new.
    fn write_constant(&mut self, name: &str, number: fn(usize) -> i64) -> Result<(), Error> {
        let Some(Placed { bytes, dtype, .. }) = self.activations.grown(name) else { return Ok(()) };
        self.ids.clear();
        self.ids.extend((0..bytes / dtype.size()).map(number));
        self.write_integers(name)
    }

    /// Writes `self.ids` into an activation, where the plan reads it.
    fn write_integers(&mut self, name: &str) -> Result<(), Error> {
        let Ok(activation) = self.activations.require(name) else { return Ok(()) };
        self.bytes.clear();
        match activation.dtype {
            Dtype::I32 => {
                self.bytes.extend(self.ids.iter().flat_map(|id| (*id as i32).to_ne_bytes()));
            }
            _ => self.bytes.extend(self.ids.iter().flat_map(|id| id.to_ne_bytes())),
        }
        Ok(self.backend.write(activation.buffer, 0, &self.bytes)?)
    }
}

#[cfg(test)]
mod tests;
