//! Gathers the parts of a model from wherever the stages of training left them.
//!
//! Stage 3 (and LLaVA) leaves one folder with everything, perhaps without the tower; stage 1 a
//! `mm_projector.bin` beside `config.json`, the rest being in the base models' folders; stage 2 a
//! whole folder, or one of the LLM alone with `mm_projector.bin` and `clip.bin` beside it. A part
//! is taken whole from the first place that has any of it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::checkpoint::Sources;
use crate::error::{Error, MissingPart, Part, TensorProblem};
use crate::folder;
use crate::tensor::Stored;

/// Tensors of all three parts, by their names in a whole checkpoint.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    pub(crate) tensors: HashMap<String, Stored>,
    /// Of no part, or of a part that was taken from elsewhere.
    pub(crate) unused: Vec<Stored>,
    /// Names that nobody knows, and tensors that are there twice.
    pub(crate) problems: Vec<TensorProblem>,
}

const ALL: [Part; 3] = [Part::Vision, Part::Connector, Part::Llm];

impl Parts {
    /// Opens the folders and files of `sources` as far as they are needed.
    ///
    /// # Errors
    ///
    /// A file cannot be read or is malformed, or a part is nowhere.
    pub(crate) fn gather(sources: &Sources) -> Result<Self, Error> {
        let Sources { checkpoint, llm, clip } = sources;
        let mut parts = Self::default();
        if let Some(tensors) = folder::read(checkpoint)? {
            parts.add(tensors, &ALL);
        }
        let mut missing = Vec::new();
        for part in ALL {
            let mut looked_in = vec![checkpoint.clone()];
            let copies = match part {
                Part::Vision => Some("clip.bin"),
                Part::Connector => Some("mm_projector.bin"),
                Part::Llm => None,
            };
            if let Some(copies) = copies
                && !parts.has(part)
            {
                looked_in.push(checkpoint.join(copies));
                if let Some(tensors) = folder::read_torch_file(checkpoint, copies)? {
                    parts.add(tensors, &[part]);
                }
            }
            let folder = match part {
                Part::Vision => clip.as_deref(),
                Part::Llm => llm.as_deref(),
                Part::Connector => None,
            };
            if let Some(folder) = folder
                && !parts.has(part)
            {
                looked_in.push(folder.to_owned());
                let tensors = read_folder(folder)?;
                parts.add(tensors.unwrap_or_default(), &[part]);
            }
            if !parts.has(part) {
                let adapter = checkpoint.join("adapter_config.json").exists();
                missing.push(MissingPart { part, looked_in, adapter });
            }
        }
        if missing.is_empty() { Ok(parts) } else { Err(Error::MissingParts { parts: missing }) }
    }

    fn has(&self, part: Part) -> bool {
        self.tensors.keys().any(|name| Place::of(name).part() == Some(part))
    }

    /// Takes those of `tensors` that belong to `wanted`.
    fn add(&mut self, tensors: Vec<Stored>, wanted: &[Part]) {
        for stored in tensors {
            match Place::of(&stored.name) {
                Place::Part(part, name) if wanted.contains(&part) => self.insert(name, stored),
                Place::Part(..) | Place::Unused => self.unused.push(stored),
                Place::Unknown => self.problems.push(TensorProblem::Extra {
                    file: stored.file.path().to_owned(),
                    name: stored.name,
                    shape: stored.shape,
                }),
            }
        }
    }

    fn insert(&mut self, name: String, stored: Stored) {
        use std::collections::hash_map::Entry;
        match self.tensors.entry(name) {
            Entry::Vacant(place) => {
                place.insert(stored);
            }
            Entry::Occupied(first) => self.problems.push(TensorProblem::Twice {
                file: stored.file.path().to_owned(),
                name: first.get().name.clone(),
                other: stored.name,
            }),
        }
    }
}

fn read_folder(folder: &Path) -> Result<Option<Vec<Stored>>, Error> {
    if !folder.is_dir() {
        return Err(Error::NotAFolder { path: PathBuf::from(folder) });
    }
    folder::read(folder)
}

/// Where a tensor belongs.
enum Place {
    /// To a part, under this name in a whole checkpoint.
    Part(Part, String),
    /// To something that CuMo does not have and that may lie beside its parts.
    Unused,
    /// Nobody knows.
    Unknown,
}

impl Place {
    /// The place of the tensor called `name` in its file.
    ///
    /// The vision tower's names begin with `model.vision_tower.vision_model.` in a CuMo folder,
    /// `model.vision_tower.vision_tower.vision_model.` in LLaVA's, `vision_model.` in CLIP's and
    /// in `clip.bin`; the connector's are found by `mm_projector.`, as the original does.
    fn of(name: &str) -> Self {
        if let Some(at) = name.find("vision_model.") {
            let before = name.get(..at).unwrap_or_default();
            let before = before.strip_prefix("model.").unwrap_or(before);
            if before.is_empty() || before.split_terminator('.').all(|word| word == "vision_tower")
            {
                let name = name.get(at..).unwrap_or_default();
                return Place::Part(Part::Vision, format!("model.vision_tower.{name}"));
            }
        }
        if let Some((_, name)) = name.split_once("mm_projector.") {
            return Place::Part(Part::Connector, format!("model.mm_projector.{name}"));
        }
        let llm = [
            "model.embed_tokens.",
            "model.layers.",
            "model.norm.",
            "model.rotary_emb.",
            "lm_head.",
        ];
        if llm.iter().any(|prefix| name.starts_with(prefix)) {
            return Place::Part(Part::Llm, name.to_owned());
        }
        // A whole CLIP has a text tower and projections; LLaVA-1.6 a token at the ends of rows.
        let others = ["text_model.", "text_projection.", "visual_projection."];
        let known = ["logit_scale", "model.image_newline"];
        if others.iter().any(|prefix| name.starts_with(prefix)) || known.contains(&name) {
            return Place::Unused;
        }
        Place::Unknown
    }

    fn part(&self) -> Option<Part> {
        match self {
            Place::Part(part, _) => Some(*part),
            Place::Unused | Place::Unknown => None,
        }
    }
}
