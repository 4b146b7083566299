//! For which devices engines are.

use crate::engines::{TensorrtFacts, TensorrtFlavour, compute_capability_name};

/// Compute capabilities of the devices that TensorRT-RTX's engines are for where none are named.
/// Later ones than the last run too.
const PORTABLE: [u32; 4] = [80, 86, 89, 120];

impl TensorrtFacts {
    /// Whether the engines are for a device of this compute capability, as `86` for 8.6.
    pub fn is_for(&self, device: u32) -> bool {
        match self.compute_capabilities.as_slice() {
            [] => {
                self.flavour == TensorrtFlavour::Rtx
                    && (PORTABLE.contains(&device) || PORTABLE.iter().all(|known| *known < device))
            }
            named => named.contains(&device),
        }
    }

    /// The devices that the engines are for, in words: `compute capability 8.6, 8.9`.
    pub fn devices(&self) -> String {
        let names = |list: &[u32]| {
            let names: Vec<_> = list.iter().copied().map(compute_capability_name).collect();
            names.join(", ")
        };
        match (self.compute_capabilities.as_slice(), self.flavour) {
            ([], TensorrtFlavour::Rtx) => {
                format!("compute capability {} and later", names(&PORTABLE))
            }
            ([], _) => "no device".to_owned(),
            (named, _) => format!("compute capability {}", names(named)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(flavour: TensorrtFlavour, devices: &[u32]) -> TensorrtFacts {
        let (version, compute_capabilities) = ("1".to_owned(), devices.to_vec());
        TensorrtFacts { flavour, version, compute_capabilities }
    }

    #[test]
    fn portable_engines_are_for_some_devices_and_not_for_those_between() {
        let rtx = facts(TensorrtFlavour::Rtx, &[]);
        let devices = [75, 80, 86, 87, 89, 90, 100, 110, 120, 121, 130];
        let good: Vec<u32> = devices.into_iter().filter(|device| rtx.is_for(*device)).collect();
        assert_eq!(good, [80, 86, 89, 120, 121, 130]);
        assert_eq!(rtx.devices(), "compute capability 8.0, 8.6, 8.9, 12.0 and later");
    }

    #[test]
    fn named_devices_are_the_only_ones() {
        let rtx = facts(TensorrtFlavour::Rtx, &[75, 120]);
        assert!(rtx.is_for(75) && rtx.is_for(120) && !rtx.is_for(121) && !rtx.is_for(80));
        assert_eq!(rtx.devices(), "compute capability 7.5, 12.0");
        let full = facts(TensorrtFlavour::V11, &[]);
        assert!(!full.is_for(90));
        assert_eq!(full.devices(), "no device");
    }
}
