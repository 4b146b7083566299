//! Numbers to work on, the same in every run.

/// A SplitMix64 generator.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// A generator that gives the same numbers for the same seed.
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number between `-scale` and `scale`.
    pub fn value(&mut self, scale: f32) -> f32 {
        // 24 bits are what an f32 holds.
        let unit = (self.next() >> 40) as f32 / (1 << 24) as f32;
        (2.0 * unit - 1.0) * scale
    }

    /// A number below `end`.
    ///
    /// # Panics
    /// Where `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fill_their_range_evenly() {
        let mut random = Random::new(1);
        let values: Vec<f32> = (0..10_000).map(|_| random.value(2.0)).collect();
        assert!(values.iter().all(|value| value.abs() <= 2.0));
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        assert!(mean.abs() < 0.05, "{mean}");
        assert!((0..1_000).all(|_| random.below(3) < 3));
    }
}
