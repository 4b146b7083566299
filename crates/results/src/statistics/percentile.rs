//! Percentiles.

/// The `percent`th percentile of samples in ascending order, by the linear method of numpy's
/// default (type 7 of Hyndman and Fan): the value at the fractional index
/// `(count - 1) * percent / 100`, between neighbours on a straight line. `percent` beyond 0 and 100
/// gives the smallest and the largest; no samples have none.
pub fn percentile(sorted: &[f64], percent: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = last as f64 * percent.clamp(0.0, 100.0) / 100.0;
    let below = (place.floor() as usize).min(last);
    let (low, high) = (*sorted.get(below)?, *sorted.get((below + 1).min(last))?);
    // Rounding must not lead past a neighbour.
    Some((low + (high - low) * (place - below as f64)).max(low).min(high))
}
