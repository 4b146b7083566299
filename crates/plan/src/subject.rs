//! What is planned: a model, and what was already made of it.

use cumo_bundle::{EngineLimits, EnginesManifest, FloatType, Manifest, ModelFacts, TensorrtFacts};

use crate::error::Error;
use crate::precision::Precision;
use crate::sizes::ModelSizes;
use crate::weights::Part;

/// A model, and the bundle or engines that were made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    pub(crate) sizes: ModelSizes,
    pub(crate) made: Option<Made>,
}

/// What is there already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) precision: Precision,
    /// Bytes of each part's weights, in the order of [`Part::ALL`].
    pub(crate) weights: [u64; 4],
    pub(crate) limits: Option<EngineLimits>,
    /// The TensorRT that engines were built with, and the devices that they are for.
    pub(crate) tensorrt: Option<TensorrtFacts>,
}

impl Subject {
    /// A model of which nothing is exported yet.
    ///
    /// # Errors
    /// [`Error::NoLayerSizes`], [`Error::ModelSize`].
    pub fn of_model(facts: &ModelFacts) -> Result<Subject, Error> {
        Ok(Subject { sizes: ModelSizes::of(facts)?, made: None })
    }

    /// A bundle, by its manifest. The weights of its precision are those of its files, to the byte.
    ///
    /// # Errors
    /// As [`Subject::of_model`].
    pub fn of_bundle(manifest: &Manifest) -> Result<Subject, Error> {
        let sizes = ModelSizes::of(&manifest.model)?;
        let stored = manifest.precision.get(Part::Llm.name()).map(|types| types.weights);
        let dtype = FloatType::ALL.into_iter().find(|dtype| Some(dtype.stored()) == stored);
        let made = dtype.map(|dtype| Made {
            precision: Precision { target: manifest.target, dtype },
            weights: Part::ALL.map(|part| part_bytes(manifest, part)),
            limits: None,
            tensorrt: None,
        });
        Ok(Subject { sizes, made })
    }

    /// Engines, by their manifest: the bundle that they were built of, what they take, and which
    /// devices they are for.
    ///
    /// # Errors
    /// As [`Subject::of_model`].
    pub fn of_engines(manifest: &EnginesManifest) -> Result<Subject, Error> {
        let mut subject = Subject::of_bundle(&manifest.bundle)?;
        if let Some(made) = &mut subject.made {
            made.limits = Some(manifest.limits.clone());
            made.tensorrt = Some(manifest.tensorrt.clone());
        }
        Ok(subject)
    }

    /// The model's sizes.
    pub fn sizes(&self) -> &ModelSizes {
        &self.sizes
    }
}

/// Bytes of a part's weights: of its tensors where they are bound one by one, or else of the file
/// beside its graph.
fn part_bytes(manifest: &Manifest, part: Part) -> u64 {
    let file = format!("{}.safetensors", part.name());
    let weights = manifest.weights.values().filter(|weight| weight.file == file);
    let bound = weights.filter_map(|weight| weight.bytes()).fold(0, u64::saturating_add);
    if !manifest.weights.is_empty() {
        return bound;
    }
    let graph = manifest.graphs.get(part.name());
    let data = graph.and_then(|graph| manifest.files.get(&format!("{}.data", graph.file)));
    data.map_or(0, |entry| entry.bytes)
}
