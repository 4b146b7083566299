//! Weights, cache and tensors of a plan, in bytes.

use std::collections::{BTreeMap, BTreeSet};

use cumo_bundle::{Binding, CacheUpdate, Manifest, Phase, Value, names};

use crate::backend::MemoryUse;
use crate::cache::Cache;
use crate::error::Error;
use crate::shape::{Shape, Sizes};

/// Weights, cache and tensors of a manifest's plan, at the largest sizes of its passes.
///
/// # Errors
/// [`Error::UnknownSymbol`].
pub(super) fn needed(
    manifest: &Manifest,
    images: usize,
    sequence: usize,
    positions: usize,
) -> Result<MemoryUse, Error> {
    let scales = &manifest.model.vision.scales;
    let crops = scales.iter().fold(0, |sum: usize, s| sum.saturating_add(s.saturating_mul(*s)));
    let sizes = Sizes {
        images,
        crops: images.saturating_mul(crops),
        sequence,
        past: positions,
        capacity: positions,
        attended: positions,
    };
    let mut tensors = Tensors { sizes, largest: BTreeMap::new() };
    let mut files = BTreeSet::new();
    for phase in Phase::ALL {
        for step in manifest.plan.steps(phase) {
            let Some(graph) = manifest.graphs.get(&step.graph) else { continue };
            for value in &graph.inputs {
                match step.inputs.get(&value.name) {
                    Some(Binding::Weight(name)) => {
                        files.extend(manifest.weights.get(name).map(|weight| &weight.file));
                    }
                    // The cache itself.
                    Some(Binding::Cache(_)) | None => {}
                    Some(binding) => tensors.add(manifest, &step.graph, value, binding)?,
                }
            }
            for value in &graph.outputs {
                if let Some(binding) = step.outputs.get(&value.name) {
                    tensors.add(manifest, &step.graph, value, binding)?;
                }
            }
        }
    }
    let file_bytes = |name: &&String| manifest.files.get(*name).map_or(0, |file| file.bytes);
    Ok(MemoryUse {
        weights: files.iter().map(file_bytes).fold(0, u64::saturating_add),
        cache: Cache::new(&manifest.plan.cache)?.bytes_at(positions) as u64,
        contexts: 0,
        activations: 0,
        buffers: tensors.bytes().saturating_add(image_bytes(manifest, images)),
    })
}

/// Embeddings of images that wait for their question.
fn image_bytes(manifest: &Manifest, images: usize) -> u64 {
    let facts = &manifest.model;
    let values = facts.vision.image_tokens.saturating_mul(facts.llm.hidden_size);
    let embeds = manifest.graphs.values().flat_map(|graph| &graph.outputs);
    let dtype = embeds.filter(|value| value.name == names::IMAGE_EMBEDS);
    let size = dtype.map(|value| value.dtype.size()).max().unwrap_or(4);
    (values.saturating_mul(size) as u64).saturating_mul(images as u64)
}

fn value_bytes(graph: &str, value: &Value, sizes: &Sizes) -> Result<u64, Error> {
    let elements = Shape::new(graph, value)?.elements(sizes);
    Ok(elements.saturating_mul(value.dtype.size()) as u64)
}

/// The largest size of every tensor that has memory of its own.
struct Tensors {
    sizes: Sizes,
    largest: BTreeMap<String, u64>,
}

impl Tensors {
    fn add(
        &mut self,
        manifest: &Manifest,
        graph: &str,
        value: &Value,
        binding: &Binding,
    ) -> Result<(), Error> {
        let name = match binding {
            Binding::Activation(name) => name.clone(),
            // New rows lie in memory of the graph's until they are in the cache.
            Binding::Cache(slot) => {
                let mut slots = manifest.plan.cache.iter();
                let of_rows = |found: &&cumo_bundle::CacheSlot| {
                    found.name == *slot && found.update == CacheUpdate::Rows
                };
                match slots.find(of_rows) {
                    Some(_) => format!("rows of {graph}.{}", value.name),
                    None => return Ok(()),
                }
            }
            Binding::Weight(_) => return Ok(()),
        };
        let bytes = value_bytes(graph, value, &self.sizes)?;
        let largest = self.largest.entry(name).or_default();
        *largest = bytes.max(*largest);
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.largest.values().copied().fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{CONTEXT, Form, bundle, generator};
    use cumo_bundle::{Dim, Dtype};

    #[test]
    fn a_plan_is_counted_as_the_executor_allocates() {
        for form in Form::ALL {
            let bundle = bundle(form);
            let needed = needed(&bundle.manifest, 2, 8, CONTEXT).unwrap();
            let (mut generator, seen) = generator(form);
            let executor = generator.executor();
            executor.reserve(CONTEXT, 8).unwrap();
            assert_eq!(needed.cache, executor.cache_bytes() as u64, "{form:?}");
            let images = executor.encode_images(&[0.0; 2 * 12]).unwrap();
            let live = seen.borrow().live_bytes as u64;
            assert_eq!(needed.cache + needed.buffers, live, "{form:?}");
            // Two images of three rows wait for their question.
            let waiting = image_bytes(&bundle.manifest, images.len());
            assert_eq!(waiting, 2 * 3 * 4);
        }
    }

    #[test]
    fn a_tensor_that_graphs_see_in_different_sizes_has_the_largest() {
        let manifest = bundle(Form::Append).manifest;
        let mut tensors = Tensors { sizes: Sizes::default(), largest: BTreeMap::new() };
        for rows in [3, 7, 5] {
            let value =
                Value { name: "x".to_owned(), dtype: Dtype::F32, shape: vec![Dim::Fixed(rows)] };
            tensors.add(&manifest, "g", &value, &Binding::Activation("t".to_owned())).unwrap();
        }
        assert_eq!(tensors.bytes(), 7 * 4);
    }

    #[test]
    fn sizes_that_cannot_be_counted_are_the_largest() {
        let bundle = bundle(Form::LayersRows);
        let needed = needed(&bundle.manifest, usize::MAX, usize::MAX, usize::MAX).unwrap();
        assert!(needed.total() > 1 << 60);
    }
}
