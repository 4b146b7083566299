//! Where the time of a pass goes.

use std::time::Duration;

use crate::step::Stage;

/// Time spent inside the backend's graphs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StepTimes {
    /// Steps up to the one that makes `image_features`.
    pub vision: Duration,
    /// Steps from there to `image_embeds`.
    pub connector: Duration,
    /// Token embedding.
    pub embed: Duration,
    /// Decoder layers and head.
    pub decode: Duration,
}

impl StepTimes {
    /// All of it.
    pub fn total(&self) -> Duration {
        self.vision + self.connector + self.embed + self.decode
    }

    /// Counts a step.
    pub(crate) fn add(&mut self, stage: Stage, elapsed: Duration) {
        match stage {
            Stage::Vision => self.vision += elapsed,
            Stage::Connector => self.connector += elapsed,
            Stage::Embed => self.embed += elapsed,
            Stage::Decode => self.decode += elapsed,
        }
    }
}
