//! Which passes are recorded as graphs of the device's, and when they are played.

use crate::backend::{Buffer, RowWrite, StepId};

/// Passes that are kept; the one that was played longest ago gives way.
const MOST: usize = 32;

/// A step as it runs in a pass: what it is, on which engine, and how often its context was changed.
/// Recorded work is that of contexts as they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RunOf {
    pub(super) step: StepId,
    pub(super) engine: usize,
    pub(super) version: u64,
}

/// A part of a pass, as recorded work has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Run(RunOf),
    /// Without its position, which lies in the device's memory.
    Write(RowWrite),
}

impl Part {
    pub(super) fn of_write(write: &RowWrite) -> Part {
        Part::Write(RowWrite { position: 0, ..*write })
    }

    fn is_of(&self, step: StepId) -> bool {
        matches!(self, Part::Run(run) if run.step == step)
    }

    fn uses(&self, buffer: Buffer) -> bool {
        matches!(self, Part::Write(write)
            if [write.rows, write.cache, write.index].contains(&buffer))
    }
}

/// What is to be done with a pass.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn<'a, G> {
    /// It runs step by step.
    Plain,
    /// It has run like that before: it is recorded now.
    Record,
    /// It was recorded.
    Play(&'a G),
}

/// Recorded passes.
pub(super) struct Recorder<G> {
    passes: Vec<Pass<G>>,
    is_off: bool,
}

struct Pass<G> {
    parts: Vec<Part>,
    graph: Option<G>,
}

impl<G> Default for Recorder<G> {
    fn default() -> Self {
        Recorder { passes: Vec::new(), is_off: false }
    }
}

impl<G> Recorder<G> {
    /// What is to be done with a pass, which is going to run. The first time it runs step by step,
    /// in which the library does what it does once, and which must not be recorded.
    pub(super) fn turn(&mut self, parts: &[Part]) -> Turn<'_, G> {
        if self.is_off || parts.len() < 2 {
            return Turn::Plain;
        }
        match self.passes.iter().position(|pass| pass.parts == parts) {
            None => {
                // A pass with contexts that were changed since never comes again.
                self.passes.retain(|pass| !pass.parts.iter().any(|old| is_outdated(old, parts)));
                if self.passes.len() == MOST {
                    self.passes.remove(0);
                }
                self.passes.push(Pass { parts: parts.to_vec(), graph: None });
                Turn::Plain
            }
            Some(index) => {
                let pass = self.passes.remove(index);
                self.passes.push(pass);
                match self.passes.last().and_then(|pass| pass.graph.as_ref()) {
                    Some(graph) => Turn::Play(graph),
                    None => Turn::Record,
                }
            }
        }
    }

    /// Keeps what was recorded of the pass that had its turn last.
    pub(super) fn keep(&mut self, graph: G) -> Option<&G> {
        let pass = self.passes.last_mut()?;
        Some(pass.graph.insert(graph))
    }

    /// Forgets a pass that did not run as a whole: it is not recorded before it did.
    pub(super) fn has_failed(&mut self, parts: &[Part]) {
        self.passes.retain(|pass| pass.parts != parts);
    }

    /// Recording does not work: everything runs step by step from here on.
    pub(super) fn give_up(&mut self) {
        self.is_off = true;
        self.passes.clear();
    }

    /// Forgets passes with a step whose context is about to be changed.
    pub(super) fn forget(&mut self, step: StepId) {
        self.passes.retain(|pass| !pass.parts.iter().any(|part| part.is_of(step)));
    }

    /// Forgets passes that write rows from, or to, memory that is about to be given back.
    pub(super) fn forget_memory(&mut self, buffer: Buffer) {
        self.passes.retain(|pass| !pass.parts.iter().any(|part| part.uses(buffer)));
    }
}

/// Whether a part is a run of a step and engine of a pass, with a context of before.
fn is_outdated(old: &Part, parts: &[Part]) -> bool {
    let Part::Run(old) = old else { return false };
    parts.iter().any(|new| {
        matches!(new, Part::Run(new) if (new.step, new.engine) == (old.step, old.engine)
            && new.version != old.version)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two steps on an engine, with contexts that were changed so often.
    fn runs(engine: usize, versions: [u64; 2]) -> Vec<Part> {
        let run = |(step, version)| Part::Run(RunOf { step: StepId(step), engine, version });
        versions.into_iter().enumerate().map(run).collect()
    }

    fn name(turn: &Turn<'_, u32>) -> &'static str {
        match turn {
            Turn::Plain => "plain",
            Turn::Record => "record",
            Turn::Play(_) => "play",
        }
    }

    #[test]
    fn a_pass_runs_is_recorded_and_is_played() {
        let mut recorder = Recorder::<u32>::default();
        assert_eq!(recorder.turn(&runs(0, [1, 1])), Turn::Plain);
        assert_eq!(recorder.turn(&runs(0, [1, 1])), Turn::Record);
        recorder.keep(7);
        assert_eq!(recorder.turn(&runs(0, [1, 1])), Turn::Play(&7));
        // Another rung, and back.
        assert_eq!(recorder.turn(&runs(1, [1, 1])), Turn::Plain);
        assert_eq!(recorder.turn(&runs(1, [1, 1])), Turn::Record);
        recorder.keep(8);
        assert_eq!(recorder.turn(&runs(0, [1, 1])), Turn::Play(&7));
        assert_eq!(recorder.turn(&runs(1, [1, 1])), Turn::Play(&8));
    }

    #[test]
    fn a_changed_context_is_recorded_anew_and_the_old_graph_is_dropped() {
        let mut recorder = Recorder::<u32>::default();
        for want in ["plain", "record"] {
            assert_eq!(name(&recorder.turn(&runs(0, [1, 1]))), want);
        }
        recorder.keep(7);
        for want in ["plain", "record"] {
            assert_eq!(name(&recorder.turn(&runs(0, [1, 2]))), want);
        }
        assert_eq!(recorder.passes.len(), 1);
        recorder.keep(8);
        recorder.forget(StepId(5));
        assert_eq!(recorder.turn(&runs(0, [1, 2])), Turn::Play(&8));
        recorder.forget(StepId(1));
        assert_eq!(recorder.turn(&runs(0, [1, 2])), Turn::Plain);
    }

    #[test]
    fn a_pass_that_failed_runs_plainly_before_it_is_recorded() {
        let mut recorder = Recorder::<u32>::default();
        assert_eq!(recorder.turn(&runs(0, [1, 1])), Turn::Plain);
        recorder.has_failed(&runs(0, [1, 1]));
        assert_eq!(recorder.turn(&runs(0, [1, 1])), Turn::Plain);
        assert_eq!(recorder.turn(&runs(0, [1, 1])), Turn::Record);
    }

    #[test]
    fn rows_are_recorded_for_every_position_and_for_memory_that_is_there() {
        let write = RowWrite {
            rows: Buffer(1),
            cache: Buffer(2),
            index: Buffer(3),
            position: 5,
            heads: 2,
            sequence: 1,
            pitch: 64,
            position_bytes: 32,
        };
        let pass = |write: RowWrite| {
            let run = RunOf { step: StepId(0), engine: 0, version: 1 };
            [Part::Run(run), Part::of_write(&write)]
        };
        let mut recorder = Recorder::<u32>::default();
        assert_eq!(recorder.turn(&pass(write)), Turn::Plain);
        assert_eq!(recorder.turn(&pass(RowWrite { position: 6, ..write })), Turn::Record);
        recorder.keep(7);
        let next = RowWrite { position: 7, ..write };
        assert_eq!(recorder.turn(&pass(next)), Turn::Play(&7));
        let others = [
            RowWrite { pitch: 128, ..write },
            RowWrite { sequence: 2, ..write },
            RowWrite { cache: Buffer(9), ..write },
        ];
        for other in others {
            assert_eq!(recorder.turn(&pass(other)), Turn::Plain, "{other:?}");
        }
        recorder.forget_memory(Buffer(9));
        assert_eq!(recorder.turn(&pass(next)), Turn::Play(&7));
        for buffer in [1, 2, 3] {
            recorder.forget_memory(Buffer(buffer));
            assert_eq!(name(&recorder.turn(&pass(next))), "plain", "{buffer}");
            assert_eq!(name(&recorder.turn(&pass(next))), "record", "{buffer}");
            recorder.keep(7);
        }
    }

    #[test]
    fn what_cannot_be_recorded_runs_plainly_for_good() {
        let mut recorder = Recorder::<u32>::default();
        recorder.turn(&runs(0, [1, 1]));
        assert_eq!(recorder.turn(&runs(0, [1, 1])), Turn::Record);
        recorder.give_up();
        for _ in 0..3 {
            assert_eq!(recorder.turn(&runs(0, [1, 1])), Turn::Plain);
        }
    }

    #[test]
    fn one_step_alone_is_not_recorded_and_passes_do_not_pile_up() {
        let mut recorder = Recorder::<u32>::default();
        for _ in 0..3 {
            assert_eq!(recorder.turn(&runs(0, [1, 1])[..1]), Turn::Plain);
        }
        for engine in 0..3 * MOST {
            recorder.turn(&runs(engine, [1, 1]));
        }
        assert_eq!(recorder.passes.len(), MOST);
    }
}
