//! Engines on the device, and which of them takes a step.

use cumo_bundle::{EngineEntry, Engines, Pass};
use cumo_tensorrt::{Engine, Runtime};

use super::fault::during;
use crate::backend::BackendError;
use crate::error::Error;

/// An engine and what its folder says of it.
pub(super) struct LoadedEngine {
    pub(super) entry: EngineEntry,
    pub(super) engine: Engine,
}

/// Loads every engine of a folder.
///
/// # Errors
/// [`Error::Bundle`] where a file is not as it was written; [`BackendError::Graph`] where TensorRT
/// does not take it; [`BackendError::DeviceFull`].
pub(super) fn load(engines: &Engines, runtime: &Runtime) -> Result<Vec<LoadedEngine>, Error> {
    let load = |entry: &EngineEntry| {
        let bytes = engines.read(entry)?;
        let engine = runtime.load(&bytes).map_err(|error| match error {
            cumo_tensorrt::Error::WrongEngine { reason } => {
                BackendError::Graph { file: engines.file(&entry.file), reason }
            }
            error => during(&format!("loading {}", entry.file))(error),
        })?;
        Ok(LoadedEngine { entry: entry.clone(), engine })
    };
    engines.manifest.engines.iter().map(load).collect()
}

/// Constants of an engine, in bytes: as the builder said, or else at most all of its file.
pub(super) fn constant_bytes(engines: &Engines, entry: &EngineEntry) -> u64 {
    let file = || engines.manifest.files.get(&entry.file).map_or(0, |file| file.bytes);
    entry.figures.weights_bytes.unwrap_or_else(file)
}

/// The most activation memory that any engine needs.
///
/// # Errors
/// [`BackendError::Device`].
pub(super) fn activation_bytes(engines: &[LoadedEngine]) -> Result<u64, BackendError> {
    let mut bytes = engines.iter().map(|it| it.engine.activation_bytes(0));
    let most = bytes.try_fold(0, |most: u64, bytes| Ok(most.max(bytes?)));
    most.map_err(during("asking for the size of activations"))
}

/// The index of the engine of a graph that takes inputs of these shapes. One that was built for one
/// position comes before one that takes any number.
pub(super) fn choose<'a>(
    engines: impl Iterator<Item = &'a EngineEntry>,
    graph: &str,
    shape: impl Fn(&str) -> Option<&'a [i64]>,
) -> Option<usize> {
    let takes = |entry: &EngineEntry| {
        entry.profile.iter().all(|(input, range)| {
            shape(input).is_some_and(|shape| is_within(shape, &range.min, &range.max))
        })
    };
    let found = engines.enumerate().filter(|(_, entry)| entry.graph == graph && takes(entry));
    found.max_by_key(|(_, entry)| entry.pass == Pass::Decode).map(|(index, _)| index)
}

fn is_within(shape: &[i64], min: &[usize], max: &[usize]) -> bool {
    let sizes = shape.iter().zip(min.iter().zip(max));
    shape.len() == min.len()
        && min.len() == max.len()
        && sizes.into_iter().all(|(size, (min, max))| {
            usize::try_from(*size).is_ok_and(|size| (*min..=*max).contains(&size))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cumo_bundle::{EngineContents, EngineFigures, ShapeRange};
    use std::collections::BTreeMap;

    fn entry(graph: &str, pass: Pass, min: &[usize], max: &[usize]) -> EngineEntry {
        let range = ShapeRange { min: min.to_vec(), opt: max.to_vec(), max: max.to_vec() };
        EngineEntry {
            file: String::new(),
            graph: graph.to_owned(),
            pass,
            attended: None,
            profile: BTreeMap::from([("x".to_owned(), range)]),
            key: String::new(),
            contents: EngineContents::default(),
            figures: EngineFigures::default(),
        }
    }

    #[test]
    fn an_engine_is_chosen_by_shape_and_one_for_a_position_comes_first() {
        let engines = [
            entry("other", Pass::Decode, &[1, 1], &[9, 9]),
            entry("layer", Pass::Decode, &[1, 512], &[1, 512]),
            entry("layer", Pass::Decode, &[1, 1024], &[2, 1024]),
            entry("layer", Pass::Prefill, &[1, 1], &[64, 1024]),
        ];
        let chosen = |shape: &'static [i64]| {
            choose(engines.iter(), "layer", |name| (name == "x").then_some(shape))
        };
        assert_eq!(chosen(&[1, 512]), Some(1));
        assert_eq!(chosen(&[1, 1024]), Some(2));
        // Longer contexts have engines for one or two positions.
        assert_eq!(chosen(&[2, 1024]), Some(2));
        assert_eq!(chosen(&[2, 512]), Some(3));
        assert_eq!(chosen(&[1, 700]), Some(3));
        for none in [&[65, 1024][..], &[0, 512], &[-1, 512], &[1], &[1, 1, 1]] {
            assert_eq!(chosen(none), None, "{none:?}");
        }
        assert_eq!(choose(engines.iter(), "layer", |_| None), None);
    }
}
