//! Where the time of a pass goes.

use std::time::Duration;

use crate::step::Stage;

/// Time of the stages of passes. That inside the backend's graphs and copies; where
/// [`crate::Executor::measured`] is set, all of a stage until a device has ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StepTimes {
    /// Pixels into the backend's memory, and each image's embeddings into memory of its own.
    pub copy: Duration,
    /// Steps up to the one that makes `image_features`.
    pub vision: Duration,
    /// Steps from there to `image_embeds`.
    pub connector: Duration,
    /// Token embedding.
    pub embed: Duration,
    /// Rows of images into their places among the embeddings.
    pub splice: Duration,
    /// Decoder layers and head.
    pub decode: Duration,
}

impl StepTimes {
    /// That of graphs: all but copies.
    pub fn graphs(&self) -> Duration {
        self.vision + self.connector + self.embed + self.decode
    }

    /// Counts time of a stage.
    pub(crate) fn add(&mut self, stage: Stage, elapsed: Duration) {
        let time = match stage {
            Stage::Copy => &mut self.copy,
            Stage::Vision => &mut self.vision,
            Stage::Connector => &mut self.connector,
            Stage::Embed => &mut self.embed,
            Stage::Splice => &mut self.splice,
            Stage::Decode => &mut self.decode,
        };
        *time += elapsed;
    }
}
