//! TensorRT's warnings, sorted and in plain words.

use std::collections::BTreeSet;

use cumo_tensorrt::{Message, Severity};

/// What a warning asks of the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Advice {
    /// Something may be wrong.
    Look,
    /// Not known to us.
    Unknown,
    /// Known, and nothing to act on.
    Ignore,
}

/// One warning, of all engines that it came up for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it asks of the user.
    pub advice: Advice,
    /// In plain words, or as TensorRT says it where it is not known.
    pub text: String,
    /// TensorRT's first message of this kind.
    pub original: String,
    /// How often it came up.
    pub count: usize,
    /// The engines that it came up for, by name.
    pub engines: BTreeSet<String>,
}

/// All warnings of a build, each kind once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings(Vec<Finding>);

/// Warnings that are known: a piece of their text, what they ask of the user, and in plain words.
const KNOWN: [(&str, Advice, &str); 8] = [
    (
        "has Int64 binding",
        Advice::Ignore,
        "positions and token ids are 64-bit integers, which the runtime gives",
    ),
    (
        "CUDA driver version is insufficient",
        Advice::Ignore,
        "there is no GPU here; TensorRT-RTX builds without one",
    ),
    (
        "Unable to determine GPU memory usage",
        Advice::Ignore,
        "there is no GPU to ask for its memory",
    ),
    (
        "CUDA lazy loading is not enabled",
        Advice::Look,
        "set CUDA_MODULE_LOADING=LAZY: less device memory",
    ),
    (
        "Detected subnormal",
        Advice::Look,
        "some constant weights are so small that half precision has few digits left for them",
    ),
    (
        "less than smallest positive",
        Advice::Look,
        "some constant weights are too small for half precision and were rounded",
    ),
    (
        "is unused",
        Advice::Look,
        "an input of a graph is not used by the engine: TensorRT ignores what it is for",
    ),
    (
        "iming cache header mismatch",
        Advice::Look,
        "the timing cache is of another TensorRT or device and was not used",
    ),
];

impl Findings {
    /// Adds something that we have to say.
    pub(super) fn note(&mut self, text: &str) {
        let (text, original) = (text.to_owned(), String::new());
        let (count, engines) = (1, BTreeSet::new());
        self.0.push(Finding { advice: Advice::Look, text, original, count, engines });
    }

    /// Adds a message of TensorRT's.
    pub(super) fn add(&mut self, engine: &str, message: &Message) {
        if message.severity > Severity::Warning {
            return;
        }
        let known = KNOWN.iter().find(|(piece, ..)| message.text.contains(piece));
        let (advice, text) = known.map_or_else(
            || (Advice::Unknown, message.text.trim().to_owned()),
            |(_, advice, text)| (*advice, (*text).to_owned()),
        );
        let place = match self.0.iter().position(|finding| finding.text == text) {
            Some(place) => place,
            None => {
                let original = message.text.trim().to_owned();
                let (count, engines) = (0, BTreeSet::new());
                self.0.push(Finding { advice, text, original, count, engines });
                self.0.len() - 1
            }
        };
        if let Some(finding) = self.0.get_mut(place) {
            finding.count += 1;
            finding.engines.insert(engine.to_owned());
        }
    }

    /// The warnings, those to look at first.
    pub fn sorted(&self) -> Vec<&Finding> {
        let mut sorted: Vec<&Finding> = self.0.iter().collect();
        sorted.sort_by_key(|finding| finding.advice);
        sorted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(severity: Severity, text: &str) -> Message {
        Message { severity, text: text.to_owned() }
    }

    #[test]
    fn each_kind_is_told_once_and_what_needs_a_look_comes_first() {
        let mut findings = Findings::default();
        for (engine, input) in [("embed", "input_ids"), ("layer", "write_indices")] {
            let text =
                format!("ModelImporter.cpp:1071: Make sure input {input} has Int64 binding.");
            findings.add(engine, &message(Severity::Warning, &text));
        }
        findings.add("layer", &message(Severity::Warning, "something new"));
        findings.add("layer", &message(Severity::Warning, "Detected subnormal FP16 values."));
        findings.add("layer", &message(Severity::Info, "something is built"));
        let sorted = findings.sorted();
        let advice: Vec<_> = sorted.iter().map(|finding| finding.advice).collect();
        assert_eq!(advice, [Advice::Look, Advice::Unknown, Advice::Ignore]);
        assert_eq!(sorted[1].text, "something new");
        assert_eq!((sorted[2].count, sorted[2].engines.len()), (2, 2));
        assert!(sorted[2].original.contains("input_ids"), "{:?}", sorted[2]);
    }
}
