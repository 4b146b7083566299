//! Which passes are recorded as graphs of the device's, and when they are played.

use crate::backend::StepId;

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
    runs: Vec<RunOf>,
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
    pub(super) fn turn(&mut self, runs: &[RunOf]) -> Turn<'_, G> {
        if self.is_off || runs.len() < 2 {
            return Turn::Plain;
        }
        match self.passes.iter().position(|pass| pass.runs == runs) {
            None => {
                // A pass with contexts that were changed since never comes again.
                self.passes.retain(|pass| !pass.runs.iter().any(|old| is_outdated(*old, runs)));
                if self.passes.len() == MOST {
                    self.passes.remove(0);
                }
                self.passes.push(Pass { runs: runs.to_vec(), graph: None });
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
    pub(super) fn has_failed(&mut self, runs: &[RunOf]) {
        self.passes.retain(|pass| pass.runs != runs);
    }

    /// Recording does not work: everything runs step by step from here on.
    pub(super) fn give_up(&mut self) {
        self.is_off = true;
        self.passes.clear();
    }

    /// Forgets passes with a step whose context is about to be changed.
    pub(super) fn forget(&mut self, step: StepId) {
        self.passes.retain(|pass| pass.runs.iter().all(|run| run.step != step));
    }
}

/// Whether a run is of a step and engine of a pass, with a context of before.
fn is_outdated(old: RunOf, runs: &[RunOf]) -> bool {
    runs.iter()
        .any(|new| (new.step, new.engine) == (old.step, old.engine) && new.version != old.version)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two steps on an engine, with contexts that were changed so often.
    fn runs(engine: usize, versions: [u64; 2]) -> Vec<RunOf> {
        let run = |(step, version)| RunOf { step: StepId(step), engine, version };
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
