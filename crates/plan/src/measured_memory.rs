//! Memory that was measured, beside what is planned for the same work.

use cumo_results::BenchResult;
use serde::Serialize;

use crate::plan::{Planning, Question, RunsOn};
use crate::precision::Precision;

/// The shortest cache of graphs that attend to as much of it as is filled, in steps of twice as much.
const FIRST_RUNG: u64 = 64;

/// The runtime makes room for a question and its answer in steps of so many positions.
const ANSWER_STEP: u64 = 256;

/// One kind of memory.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MeasuredMemory {
    /// What it is, for people.
    pub memory: String,
    /// Bytes that were measured.
    pub measured_bytes: u64,
    /// Bytes that are planned; none where the plan says nothing of it.
    pub planned_bytes: Option<u64>,
    /// Measured over planned.
    pub over_plan: Option<f64>,
}

/// What a result says of memory.
pub(crate) fn memory(
    planning: &Planning<'_>,
    precision: Precision,
    runs_on: RunsOn,
    result: &BenchResult,
) -> Vec<MeasuredMemory> {
    let question = question(planning, precision, result);
    let planned = planning.precision(precision, &question);
    let memory = &result.memory;
    let all = Some(planned.total_bytes);
    // A card's memory has all of it; else it is in the process.
    let is_beside = memory.peak_device_bytes.is_some() && runs_on == RunsOn::Device;
    [
        ("weights".to_owned(), memory.weights_bytes, Some(planned.weights_bytes)),
        (
            format!("cache, {} positions", question.context),
            memory.cache_bytes,
            Some(planned.cache_bytes),
        ),
        ("peak of the device".to_owned(), memory.peak_device_bytes, all),
        ("peak of the process".to_owned(), memory.peak_process_bytes, all.filter(|_| !is_beside)),
    ]
    .into_iter()
    .filter_map(|(memory, measured, planned)| row(memory, measured?, planned))
    .collect()
}

fn row(memory: String, measured_bytes: u64, planned: Option<u64>) -> Option<MeasuredMemory> {
    let planned_bytes = planned.filter(|planned| *planned > 0);
    let over_plan = planned_bytes.map(|planned| measured_bytes as f64 / planned as f64);
    Some(MeasuredMemory { memory, measured_bytes, planned_bytes, over_plan })
}

/// The question that was measured, with the positions that the cache had room for.
fn question(planning: &Planning<'_>, precision: Precision, result: &BenchResult) -> Question {
    let asked = &result.configuration;
    let sizes = &planning.subject.sizes;
    let images = asked.images.len() as u64;
    let seen = images.saturating_mul(sizes.image_tokens());
    let prompt_positions = seen.saturating_add(asked.prompt_tokens);
    let answers = prompt_positions.saturating_add(asked.generate_tokens);
    let prompts = result.prefill.iter().map(|row| row.depth_tokens.saturating_add(row.tokens));
    let tokens = result.generation.iter().map(|row| row.depth_tokens.saturating_add(row.tokens));
    let answers = answers.checked_next_multiple_of(ANSWER_STEP).unwrap_or(u64::MAX);
    let answers = if result.answers.is_empty() { 0 } else { answers };
    let longest = prompts.chain(tokens).fold(answers, u64::max);
    let model = sizes.context_length();
    let context = match (&result.model.engines_sha256, result.model.context_length) {
        // Engines have a cache of one length.
        (Some(_), Some(built)) => built,
        _ if precision.is_for_engines() => {
            longest.checked_next_power_of_two().unwrap_or(model).max(FIRST_RUNG)
        }
        _ => longest,
    };
    let context = context.min(model).max(1);
    Question {
        context,
        images,
        prompt_tokens: asked.prompt_tokens,
        prompt_positions: prompt_positions.min(context),
    }
}
