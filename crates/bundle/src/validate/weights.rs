//! Weights against the files they lie in, and against the inputs they are bound to.

use super::MAX_SIZE;
use crate::manifest::{Dim, FileEntry, Manifest, Value, WEIGHT_ALIGNMENT, WeightEntry};

/// Adds what is wrong with the places of the manifest's weights.
pub(super) fn weights(manifest: &Manifest, problems: &mut Vec<String>) {
    for (name, weight) in &manifest.weights {
        let file = &weight.file;
        match manifest.files.get(file) {
            None => problems.push(format!("weight `{name}`: `{file}` is not among the files")),
            Some(entry) => problems.extend(place_problem(name, weight, entry)),
        }
    }
}

fn place_problem(name: &str, weight: &WeightEntry, file: &FileEntry) -> Option<String> {
    let WeightEntry { offset, dtype, shape, .. } = weight;
    if shape.iter().any(|size| *size == 0 || *size > MAX_SIZE) {
        return Some(format!("weight `{name}` has an absurd shape, {shape:?}"));
    }
    if !offset.is_multiple_of(WEIGHT_ALIGNMENT) {
        return Some(format!(
            "weight `{name}` starts at byte {offset}, which is not a multiple of {WEIGHT_ALIGNMENT}"
        ));
    }
    let inside = weight
        .bytes()
        .and_then(|bytes| offset.checked_add(bytes))
        .is_some_and(|end| end <= file.bytes);
    (!inside).then(|| {
        format!(
            "weight `{name}`: {dtype} {shape:?} from byte {offset} does not fit into the {} bytes of `{}`",
            file.bytes, weight.file
        )
    })
}

/// What keeps a weight from being an input, if anything.
pub(super) fn input_problem(name: &str, weight: &WeightEntry, input: &Value) -> Option<String> {
    let fits = |(dim, size): (&Dim, &usize)| matches!(dim, Dim::Fixed(fixed) if fixed == size);
    let same_shape =
        input.shape.len() == weight.shape.len() && input.shape.iter().zip(&weight.shape).all(fits);
    if weight.dtype == input.dtype && same_shape {
        return None;
    }
    let shape: Vec<String> = input.shape.iter().map(ToString::to_string).collect();
    Some(format!(
        "weight `{name}` is {} {:?}, the input `{}` wants {} [{}]",
        weight.dtype,
        weight.shape,
        input.name,
        input.dtype,
        shape.join(", ")
    ))
}
