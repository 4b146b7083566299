//! The parts of `cargo xtask gpu`, which can be run one by one.

use anyhow::{Result, bail};

/// A part, in the order in which they run: what says most about a card comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Cases and times of the kernels.
    Kernels,
    /// Goldens and sample through `cumo`.
    Answers,
    /// One mixture of experts as an engine, with the plugin and without.
    Mixture,
    /// `cumo bench` on the sample and on two layers of real sizes, with weights each way.
    Bench,
    /// The goldens' engines, call by call, against ONNX Runtime.
    Engines,
    /// `cumo bench` on all layers of real sizes.
    Whole,
}

impl Part {
    pub(crate) const ALL: [Part; 6] =
        [Part::Kernels, Part::Answers, Part::Mixture, Part::Bench, Part::Engines, Part::Whole];

    /// The parts of a quick run: within ten minutes.
    pub(crate) const QUICK: [Part; 4] = [Part::Kernels, Part::Answers, Part::Mixture, Part::Bench];

    pub(super) fn name(self) -> &'static str {
        match self {
            Part::Kernels => "kernels",
            Part::Engines => "engines",
            Part::Mixture => "mixture",
            Part::Answers => "answers",
            Part::Bench => "bench",
            Part::Whole => "whole",
        }
    }

    /// Parts between commas.
    ///
    /// # Errors
    /// One is not known.
    pub(crate) fn parse(text: &str) -> Result<Vec<Part>> {
        let part = |name: &str| match Part::ALL.into_iter().find(|part| part.name() == name) {
            Some(part) => Ok(part),
            None => {
                bail!("`gpu` has no part `{name}`, only {}", Part::ALL.map(Part::name).join(", "))
            }
        };
        text.split(',').map(part).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_known_by_name() {
        assert_eq!(Part::parse("answers,bench").unwrap(), [Part::Answers, Part::Bench]);
        for part in Part::ALL {
            assert_eq!(Part::parse(part.name()).unwrap(), [part]);
        }
        let error = Part::parse("answers,").unwrap_err().to_string();
        let want = "`gpu` has no part ``, only kernels, answers, mixture, bench, engines, whole";
        assert_eq!(error, want);
    }
}
