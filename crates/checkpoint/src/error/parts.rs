//! What can be missing as a whole.

use std::fmt;
use std::path::PathBuf;

/// A part of a CuMo model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// CLIP vision tower.
    Vision,
    /// From image features to the LLM's embeddings.
    Connector,
    /// Decoder LLM.
    Llm,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Vision => "vision tower",
            Part::Connector => "connector",
            Part::Llm => "LLM",
        })
    }
}

/// A part of which no tensor was found.
#[derive(Debug)]
pub struct MissingPart {
    /// The part.
    pub part: Part,
    /// Files and folders that were looked into.
    pub looked_in: Vec<PathBuf>,
    /// The folder has an adapter's weights (LoRA), which must be merged into the model first.
    pub adapter: bool,
}

impl fmt::Display for MissingPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { part, looked_in, adapter } = self;
        let looked: Vec<_> = looked_in.iter().map(|path| path.display().to_string()).collect();
        write!(f, "no weights of the {part} in {}", looked.join(", "))?;
        match part {
            Part::Llm => f.write_str("; --llm DIR brings them from the base model's folder")?,
            Part::Vision => f.write_str("; --clip DIR brings them from CLIP's folder")?,
            Part::Connector => {
                f.write_str("; they are in the folder's weights or in its mm_projector.bin")?;
            }
        }
        if *adapter {
            f.write_str(
                " (the folder has a LoRA adapter, which is not supported, because it must be \
                 merged into the model first)",
            )?;
        }
        Ok(())
    }
}
