//! How near the original's routers were to another choice of experts.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

/// The nearest of a prompt's choices.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Nearest {
    /// The golden's name of the router's probabilities.
    pub(super) router: String,
    /// The row of these probabilities.
    pub(super) row: usize,
    /// The probability of the last expert that was chosen, less that of the first that was not.
    pub(super) margin: f32,
}

/// The choice of experts that the original was nearest to making otherwise, over these images; none
/// where nothing was routed. Only the tower and the connector route, so only images count.
///
/// # Errors
/// The golden's tensors cannot be read.
pub(super) fn nearest(golden: &Path, images: &[String]) -> Result<Option<Nearest>> {
    let path = golden.join("goldens.safetensors");
    let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
    let tensors = SafeTensors::deserialize(&bytes).with_context(|| path.display().to_string())?;
    let mut nearest: Option<Nearest> = None;
    for (name, view) in tensors.tensors() {
        let Some(stem) = name.strip_suffix(".probs") else { continue };
        let of_images = images.iter().any(|image| stem.ends_with(&format!(".{image}")));
        if !name.starts_with("router.") || !of_images || view.dtype() != Dtype::F32 {
            continue;
        }
        let chosen = tensors.tensor(&format!("{stem}.experts"))?;
        let chosen = chosen.shape().last().copied().unwrap_or_default();
        let experts = view.shape().last().copied().unwrap_or_default();
        let (values, _) = view.data().as_chunks::<4>();
        let values: Vec<f32> = values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        for (row, probabilities) in values.chunks(experts.max(1)).enumerate() {
            let Some(margin) = margin(probabilities, chosen) else { continue };
            if nearest.as_ref().is_none_or(|nearest| margin < nearest.margin) {
                nearest = Some(Nearest { router: stem.to_owned(), row, margin });
            }
        }
    }
    Ok(nearest)
}

/// The distance between the last chosen and the first other; none where all are chosen.
fn margin(probabilities: &[f32], chosen: usize) -> Option<f32> {
    let mut sorted = probabilities.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    Some(sorted.get(chosen.checked_sub(1)?)? - sorted.get(chosen)?)
}

/// `tie` of `tests/tolerances.json`: choices that are nearer than this are as good as equal.
///
/// # Errors
/// The file cannot be read.
pub(super) fn tie(root: &Path) -> Result<f32> {
    #[derive(Deserialize)]
    struct Tolerances {
        tie: f32,
    }
    let path = root.join("tests/tolerances.json");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let Tolerances { tie } =
        serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    Ok(tie)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_margin_is_between_the_last_chosen_and_the_first_other() {
        let margin = |values: &[f32], chosen| margin(values, chosen);
        assert_eq!(margin(&[0.125, 0.5, 0.25, 0.125], 2), Some(0.125));
        assert_eq!(margin(&[0.5, 0.5], 2), None);
        assert_eq!(margin(&[0.5, 0.5], 0), None);
        assert_eq!(margin(&[], 1), None);
    }

    #[test]
    fn goldens_tell_the_nearest_choice_of_a_prompts_images() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let golden = root.join("tests/goldens/mistral-moe");
        let nearest = nearest(&golden, &["wide".to_owned()]).unwrap().unwrap();
        assert!(nearest.router.ends_with(".wide"), "{nearest:?}");
        assert!(nearest.margin > 0.0 && nearest.margin < 0.5, "{nearest:?}");
        assert_eq!(super::nearest(&golden, &[]).unwrap(), None);
        let error = super::nearest(root, &[]).unwrap_err().to_string();
        assert!(error.contains("goldens.safetensors"), "{error}");
        assert!(tie(root).unwrap() > 0.0);
    }
}
