//! Reading of weights ahead of their conversion.

use std::sync::mpsc::Receiver;

use cumo_checkpoint::Tensor;

use crate::weight::Weight;

/// Bytes of weights that are read from the disk ahead of those being converted; they lie in the
/// page cache, not in this process.
const BYTES_AHEAD: usize = 256 << 20;

/// Has the system read weights, as far as they are at most [`BYTES_AHEAD`] away from the last one
/// that `begun` tells of; ends when nothing more is told.
pub(super) fn read_ahead(weights: &[Weight], begun: Receiver<usize>) {
    let bytes = |weight: &Weight| -> usize { weight.tensors().iter().map(Tensor::num_bytes).sum() };
    let (mut next, mut ahead) = (0, 0);
    let mut current = 0;
    loop {
        while let Some(weight) = weights.get(next)
            && (ahead < BYTES_AHEAD || next <= current)
        {
            weight.tensors().iter().for_each(Tensor::prefetch);
            ahead += bytes(weight);
            next += 1;
        }
        let Ok(weight) = begun.recv() else { return };
        let passed = weights.get(current..weight).unwrap_or_default();
        ahead = ahead.saturating_sub(passed.iter().map(bytes).sum());
        current = weight;
    }
}
