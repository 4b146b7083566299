//! Text alone at a depth of the context: a prompt at once, and tokens one by one. These are the
//! `pp` and `tg` rows of llama-bench.

use cumo_results::schema::{Generation, Prefill};

use super::{Bench, nanoseconds};
use crate::choose::Chooser;
use crate::error::Error;
use crate::executor::{Executor, Position};
use crate::generate::piece;
use crate::sampling::{Sampler, SamplingOptions};

impl Bench<'_> {
    /// Why nothing can be measured at a depth; none where it can.
    pub(super) fn depth_problem(&mut self, depth: usize) -> Option<String> {
        let context = self.model.facts().llm.context_length;
        let (prompt, tokens) = (self.options.prompt_tokens.max(1), self.options.generate_tokens);
        let new = prompt.max(tokens);
        let needed = depth.saturating_add(new);
        let of_engines = self.model.executor().limits().cache == Some(context);
        (needed > context).then(|| {
            let who = match of_engines {
                true => format!(
                    "the engines were built for {context} (cumo-export engine --max-context {needed}, where the model has room)"
                ),
                false => format!("the model's context has {context}"),
            };
            let what = match prompt >= tokens {
                true => format!("a prompt of {prompt} tokens behind it needs"),
                false => format!("{tokens} tokens behind it need"),
            };
            format!("{what} {needed} positions, {who}")
        })
    }

    /// Why nothing can be measured at any of the depths; none where it can at one of them.
    pub fn depths_problem(&mut self) -> Option<String> {
        let mut first = None;
        for depth in self.options.depths.clone() {
            let problem = self.depth_problem(depth)?;
            first.get_or_insert_with(|| format!("--depth {depth}: {problem}"));
        }
        first
    }

    /// Measures behind `depth` random tokens; no generation where none is asked for.
    pub(super) fn depth(&mut self, depth: usize) -> Result<(Prefill, Option<Generation>), Error> {
        let (prompt, tokens) = (self.options.prompt_tokens.max(1), self.options.generate_tokens);
        let rounds = self.options.warmup + self.options.repetitions;
        let passes = if tokens == 0 { 1 } else { 2 };
        self.progress.begin(&format!("depth {depth}"), passes * rounds);
        self.model.forget()?;
        let result = self.interruptible(|bench| {
            let before = bench.positions(1, depth);
            let executor = bench.model.executor();
            executor.reserve(depth + prompt.max(tokens), piece(executor).min(depth.max(prompt)))?;
            bench.forward(&before)?;
            let mut prefill = Prefill {
                tokens: prompt as u64,
                depth_tokens: depth as u64,
                repetitions_ns: Vec::new(),
            };
            for round in 0..rounds {
                let time = bench.prefill(depth, prompt, round as u64)?;
                if round >= bench.options.warmup {
                    prefill.repetitions_ns.push(time);
                }
                bench.progress.step();
            }
            let mut generation = Generation {
                tokens: tokens as u64,
                depth_tokens: depth as u64,
                repetitions_inter_token_ns: Vec::new(),
            };
            for round in 0..rounds * (passes - 1) {
                let times = bench.generation(depth, tokens, round as u64)?;
                if round >= bench.options.warmup {
                    generation.repetitions_inter_token_ns.push(times);
                }
                bench.progress.step();
            }
            Ok((prefill, (tokens > 0).then_some(generation)))
        });
        self.model.forget()?;
        result
    }

    /// A prompt behind what is cached, from ids to the last position's logits on the host.
    fn prefill(&mut self, depth: usize, tokens: usize, round: u64) -> Result<u64, Error> {
        let positions = self.positions(2 + round, tokens);
        let mut scores = Vec::new();
        self.back_to(depth)?;
        let clock = self.model.executor().clock().clone();
        let start = clock.now();
        self.forward(&positions)?;
        self.model.executor().logits(&mut scores)?;
        Ok(nanoseconds(clock.since(start)))
    }

    /// Random tokens one by one behind what is cached: each from its id to the choice of the next
    /// one, the best, which nobody uses. Logits are read as an answer reads them.
    fn generation(&mut self, depth: usize, tokens: usize, round: u64) -> Result<Vec<u64>, Error> {
        let positions = self.positions(2 + round, tokens);
        let vocab = self.model.facts().llm.vocab_size;
        let mut sampler = Sampler::new(SamplingOptions::greedy(), vocab)?;
        let mut chooser = Chooser::new(self.model.executor());
        let mut times = Vec::with_capacity(tokens);
        self.back_to(depth)?;
        let clock = self.model.executor().clock().clone();
        let mut start = clock.now();
        for position in positions.chunks(1) {
            self.check_cancelled()?;
            let executor = self.model.executor();
            executor.forward(position, &[])?;
            chooser.choose(executor, &mut sampler)?;
            let end = clock.now();
            times.push(nanoseconds(end.saturating_sub(start)));
            start = end;
        }
        Ok(times)
    }

    /// Runs positions in pieces, as the decoding loop does.
    fn forward(&mut self, positions: &[Position]) -> Result<(), Error> {
        let piece = piece(self.model.executor());
        for chunk in positions.chunks(piece) {
            self.check_cancelled()?;
            let executor = self.model.executor();
            executor.forward(chunk, &[])?;
            executor.finish()?;
        }
        Ok(())
    }

    /// Leaves the first positions of the cache, with nothing under way.
    fn back_to(&mut self, depth: usize) -> Result<(), Error> {
        let executor: &mut Executor = self.model.executor();
        executor.truncate(depth)?;
        executor.finish()
    }

    /// Random tokens as positions; the model's first token comes first where nothing is before.
    fn positions(&self, stream: u64, count: usize) -> Vec<Position> {
        let bos = self.model.facts().llm.bos_token_id;
        let is_first = |index: usize| index == 0 && stream == 1;
        let tokens = self.random(stream).take(count).enumerate();
        tokens
            .map(|(index, token)| Position::Token(if is_first(index) { bos } else { token }))
            .collect()
    }
}
