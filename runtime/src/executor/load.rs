//! Loading a phase: its graphs are prepared and its weights mapped, or nothing of it is left.

use cumo_bundle::{Phase, names};

use super::Executor;
use crate::backend::StepId;
use crate::error::Error;
use crate::step::{Preparation, PreparedStep, Stage};

impl Executor {
    /// Loads the graphs of a phase and maps its weights, unless they are. Where that fails midway,
    /// what it had made is given back.
    ///
    /// # Errors
    /// [`Error::Backend`] where a graph cannot be loaded or is not what the manifest says, or a
    /// file of weights cannot be mapped.
    pub fn load(&mut self, phase: Phase) -> Result<(), Error> {
        if self.phases[phase as usize].is_some() {
            return Ok(());
        }
        let mapped = self.weights.mapped();
        let mut first = None;
        match self.prepare(phase, &mut first) {
            Ok(prepared) => {
                self.phases[phase as usize] = Some(prepared);
                Ok(())
            }
            Err(error) => {
                if let Some(first) = first {
                    self.backend.forget_from(first);
                }
                self.weights.release_all_but(self.backend.as_mut(), &mapped);
                Err(error)
            }
        }
    }

    /// Prepares the steps of a phase; `first` becomes the first of them.
    fn prepare(
        &mut self,
        phase: Phase,
        first: &mut Option<StepId>,
    ) -> Result<Vec<PreparedStep>, Error> {
        let mut features_made = false;
        let mut prepared = Vec::new();
        let mut preparation = Preparation {
            backend: self.backend.as_mut(),
            folder: &self.folder,
            manifest: &self.manifest,
            activations: &mut self.activations,
            weights: &mut self.weights,
            first,
        };
        for step in self.manifest.plan.steps(phase) {
            let stage = match phase {
                Phase::EncodeImages if features_made => Stage::Connector,
                Phase::EncodeImages => Stage::Vision,
                Phase::EmbedTokens => Stage::Embed,
                Phase::Decode => Stage::Decode,
            };
            let step = PreparedStep::new(&mut preparation, step, stage)?;
            let features = preparation.activations.find(names::IMAGE_FEATURES);
            features_made |= features.is_some_and(|index| step.writes(index));
            prepared.push(step);
        }
        Ok(prepared)
    }

    /// Keeps on disk what makes a later start faster: see [`crate::backend::Backend::keep_compiled`].
    pub fn keep_compiled(&mut self) {
        self.backend.keep_compiled();
    }
}
