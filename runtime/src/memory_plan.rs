//! What a model needs of a device's memory, known before anything is allocated.

use std::fmt;

/// Bytes of device memory, by what they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryUse {
    /// Files of weights, also those that are read where they lie in the host's memory, and weights
    /// that are in engines.
    pub weights: u64,
    /// What contexts keep as long as they are there, as far as engines tell.
    pub contexts: u64,
    /// The key/value cache.
    pub cache: u64,
    /// What steps use while they run; they share one block.
    pub activations: u64,
    /// Tensors that steps hand to each other, and the embeddings of images.
    pub buffers: u64,
}

impl MemoryUse {
    /// All of it.
    pub fn total(&self) -> u64 {
        [self.weights, self.contexts, self.cache, self.activations, self.buffers]
            .into_iter()
            .fold(0, u64::saturating_add)
    }
}

/// What a model needs, and what there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPlan {
    /// What the model needs.
    pub needed: MemoryUse,
    /// What is left to the library for its code and recorded steps, whose size it does not tell.
    pub reserve: u64,
    /// Contexts: one of every step on every engine that runs it.
    pub num_contexts: usize,
    /// Bytes that are free.
    pub free: u64,
    /// Bytes that there are.
    pub total: u64,
    /// Positions that the cache has room for.
    pub max_context: usize,
    /// Positions of one prefill call.
    pub max_prompt: usize,
    /// Images of one call.
    pub max_images: usize,
}

impl MemoryPlan {
    /// Bytes that are missing; none where all fits.
    pub fn missing(&self) -> Option<u64> {
        let needed = self.needed.total().saturating_add(self.reserve);
        needed.checked_sub(self.free).filter(|missing| *missing > 0)
    }
}

impl fmt::Display for MemoryPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MemoryUse { weights, contexts, cache, activations, buffers } = self.needed;
        let library = contexts.saturating_add(self.reserve);
        write!(
            f,
            "the model needs {} of device memory (weights {}, cache of {} positions {}, \
             activations {}, tensors {}{}, TensorRT {}), and {} of {} are free: {} are missing. ",
            size(self.needed.total().saturating_add(self.reserve)),
            size(weights),
            self.max_context,
            size(cache),
            size(activations),
            size(buffers),
            match contexts {
                0 => String::new(),
                bytes => format!(", {} contexts {}", self.num_contexts, size(bytes)),
            },
            size(self.reserve),
            size(self.free),
            size(self.total),
            size(self.missing().unwrap_or(0)),
        )?;
        if weights >= self.free {
            return write!(f, "The weights alone do not fit: {SMALLER}");
        }
        // What no shorter context and no fewer images make room for.
        if weights.saturating_add(library) >= self.free {
            return write!(f, "Weights and what TensorRT takes do not fit: {SMALLER}");
        }
        match self.shorter() {
            None => write!(f, "What helps: {SMALLER}"),
            Some(shorter) => write!(f, "Build engines with {shorter}, {SMALLER}"),
        }
    }
}

/// What helps whatever the sizes of the engines are.
const SMALLER: &str = "export in a smaller precision, or stop programs that use the device";

impl MemoryPlan {
    /// The options of sizes that can be less than they are now.
    fn shorter(&self) -> Option<String> {
        let sizes = [
            ("a shorter --max-context", self.max_context),
            ("a shorter --max-prompt", self.max_prompt),
            ("fewer --max-images", self.max_images),
        ];
        let sizes = sizes.into_iter().filter(|(_, now)| *now > 1);
        let mut sizes: Vec<String> =
            sizes.map(|(option, now)| format!("{option} (now {now})")).collect();
        let last = sizes.pop()?;
        Some(if sizes.is_empty() { last } else { format!("{} or {last}", sizes.join(", ")) })
    }
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    match bytes {
        0..0x0040_0000 => format!("{bytes} bytes"),
        0x0040_0000..0x4000_0000 => format!("{mebibytes:.0} MiB"),
        _ => format!("{:.2} GiB", mebibytes / 1024.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(free: u64) -> MemoryPlan {
        MemoryPlan {
            needed: MemoryUse {
                weights: 8 << 30,
                contexts: 0,
                cache: 1 << 30,
                activations: 512 << 20,
                buffers: 100 << 20,
            },
            reserve: 64 << 20,
            num_contexts: 160,
            free,
            total: 16 << 30,
            max_context: 4096,
            max_prompt: 2048,
            max_images: 4,
        }
    }

    #[test]
    fn what_is_missing_is_said_with_what_to_change() {
        assert_eq!(plan(10 << 30).missing(), None);
        let text = plan(9 << 30).to_string();
        for part in [
            "needs 9.66 GiB",
            "weights 8.00 GiB",
            "cache of 4096 positions 1.00 GiB",
            "activations 512 MiB",
            "9.00 GiB of 16.00 GiB are free: 676 MiB are missing",
            "--max-context (now 4096)",
            "--max-images (now 4)",
            "smaller precision",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let text = plan(4 << 30).to_string();
        assert!(text.contains("weights alone do not fit"), "{text}");
        assert!(!text.contains("--max-context"), "{text}");
    }

    #[test]
    fn sizes_that_cannot_be_less_are_not_named() {
        let sizes = |max_context, max_prompt, max_images| {
            MemoryPlan { max_context, max_prompt, max_images, ..plan(9 << 30) }.to_string()
        };
        let text = sizes(4096, 2048, 1);
        let advice = "Build engines with a shorter --max-context (now 4096) or a shorter \
                      --max-prompt (now 2048), export in a smaller precision";
        assert!(text.contains(advice) && !text.contains("--max-images"), "{text}");
        let text = sizes(4096, 1, 1);
        assert!(text.contains("with a shorter --max-context (now 4096), export in"), "{text}");
        let text = sizes(1, 1, 1);
        assert!(text.contains("What helps: export in a smaller precision"), "{text}");
    }

    #[test]
    fn weights_that_fit_are_not_said_not_to() {
        let needed = MemoryUse { weights: 5 << 20, ..plan(0).needed };
        let text = MemoryPlan { needed, ..plan(67 << 20) }.to_string();
        assert!(!text.contains("weights alone") && !text.contains("--max-"), "{text}");
        assert!(text.contains("Weights and what TensorRT takes do not fit: export"), "{text}");
        // With more free, a shorter context does help.
        let text = MemoryPlan { needed, ..plan(70 << 20) }.to_string();
        assert!(text.contains("Build engines with a shorter --max-context"), "{text}");
    }

    #[test]
    fn what_contexts_keep_is_told_where_it_is_known() {
        assert!(!plan(9 << 30).to_string().contains("contexts"));
        let needed = MemoryUse { contexts: 40 << 20, ..plan(0).needed };
        let text = MemoryPlan { needed, ..plan(9 << 30) }.to_string();
        assert!(text.contains("160 contexts 40 MiB, TensorRT 64 MiB"), "{text}");
    }

    #[test]
    fn sizes_that_cannot_be_counted_do_not_fit() {
        let needed = MemoryUse { weights: u64::MAX, cache: u64::MAX, ..MemoryUse::default() };
        assert!(MemoryPlan { needed, ..plan(u64::MAX - 1) }.missing().is_some());
    }
}
