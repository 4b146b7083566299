//! Whether two results can be compared.

use crate::render::label::{self, short};
use crate::render::sections::MAX_RESIDUAL;
use crate::schema::{BenchResult, FirstToken};
use crate::statistics::Summary;

/// Whether the questions of two results are not the same: their answers' times say nothing then.
pub(super) fn other_work(first: &BenchResult, second: &BenchResult) -> bool {
    let work = |result: &BenchResult| {
        let asked = &result.configuration;
        let images: Vec<String> = asked.images.iter().map(|image| image.sha256.clone()).collect();
        (asked.prompt_tokens, asked.prompt_sha256.clone(), images, asked.generate_tokens)
    };
    work(first) != work(second)
}

/// Why the numbers of two results may not be comparable, a sentence each.
pub(super) fn warnings(first: &BenchResult, second: &BenchResult) -> Vec<String> {
    let mut warnings = Vec::new();
    differences(first, second, &mut warnings);
    for (name, result) in [("the first result", first), ("the second result", second)] {
        doubts(name, result, &mut warnings);
    }
    warnings
}

/// Why the numbers of results that stand side by side may mislead: whose question is not the first
/// one's, and what makes each doubtful.
pub(crate) fn reservations(results: &[(String, BenchResult)], labels: &[String]) -> Vec<String> {
    let mut warnings = Vec::new();
    let Some((_, first)) = results.first() else { return warnings };
    for ((_, result), label) in results.iter().zip(labels) {
        if result.model.name != first.model.name {
            warnings.push(format!("{label} ran another model: `{}`", result.model.name));
        }
        if other_work(first, result) {
            warnings.push(format!(
                "{label} answered another question: its times to the first token cannot be held against the first result's"
            ));
        }
        doubts(label, result, &mut warnings);
    }
    warnings
}

/// What is not the same in both.
fn differences(first: &BenchResult, second: &BenchResult, warnings: &mut Vec<String>) {
    let mut differs = |what: &str, values: [String; 2]| {
        if values[0] != values[1] {
            let known = |value: &str| {
                if value.is_empty() { "none".to_owned() } else { format!("`{value}`") }
            };
            warnings.push(format!("other {what}: {} and {}", known(&values[0]), known(&values[1])));
        }
    };
    let both = |value: &dyn Fn(&BenchResult) -> String| [value(first), value(second)];
    differs("models", both(&|r| r.model.name.clone()));
    differs("bundles (SHA-256 of the manifest)", both(&|r| short(&r.model.bundle_sha256)));
    differs("targets", both(&|r| r.model.target.clone()));
    differs("precisions", both(&label::precision));
    differs("devices", both(&label::device));
    let library = |r: &BenchResult| {
        format!("{} {}", r.environment.library.name, r.environment.library.version)
    };
    differs("libraries", both(&library));
    differs("threads", both(&|r| optional(r.environment.threads)));
    differs("power modes", both(&|r| r.environment.power_mode.clone().unwrap_or_default()));
    differs("builds", both(&|r| r.environment.build.profile.clone()));
    let asked = |value: &dyn Fn(&BenchResult) -> u64| both(&|r| value(r).to_string());
    differs("numbers of prompt tokens", asked(&|r| r.configuration.prompt_tokens));
    differs("numbers of generated tokens", asked(&|r| r.configuration.generate_tokens));
    let prompt = |r: &BenchResult| short(r.configuration.prompt_sha256.as_deref().unwrap_or(""));
    differs("prompts (SHA-256 of the ids)", both(&prompt));
    let images = |r: &BenchResult| {
        let hashes = r.configuration.images.iter().map(|image| short(&image.sha256));
        hashes.collect::<Vec<_>>().join(" ")
    };
    differs("images (SHA-256 of the files)", both(&images));
    if other_work(first, second) {
        warnings.push(
            "the questions are not the same, so times to the first token and of answers are not held against each other".to_owned(),
        );
    }
}

/// What makes one result's numbers doubtful.
fn doubts(name: &str, result: &BenchResult, warnings: &mut Vec<String>) {
    let environment = &result.environment;
    if environment.build.profile == "debug" {
        warnings.push(format!("{name} was measured with a debug build"));
    }
    for (moment, state) in environment.moments() {
        let reasons = state.throttling.iter().flatten().cloned().collect::<Vec<_>>();
        if !reasons.is_empty() {
            let reasons = reasons.join(", ");
            warnings.push(format!("{name} was throttled {moment} measuring: {reasons}"));
        }
    }
    let load = environment.before.load_average.unwrap_or(0.0);
    let cores = environment.processor.physical_cores.unwrap_or(2);
    if load > 0.5 * cores as f64 {
        warnings.push(format!(
            "other programs ran before {name} was measured: a load average of {load:.1}"
        ));
    }
    let first: Vec<FirstToken> = result.answers.iter().map(|answer| answer.first_token).collect();
    let mean = |value: &dyn Fn(&FirstToken) -> f64| {
        Summary::of(&first.iter().map(value).collect::<Vec<_>>()).map(|summary| summary.mean)
    };
    if let (Some(residual), Some(total)) =
        (mean(&FirstToken::residual_ns), mean(&|first| first.total_ns as f64))
        && residual.abs() > MAX_RESIDUAL * total
    {
        warnings.push(format!(
            "{name}: its parts leave {:.1} % of the time to the first token uncovered",
            100.0 * residual / total
        ));
    }
}

fn optional(value: Option<u64>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}
