//! A measurement against its bounds.

use cumo_bundle::{FloatType, Target};
use cumo_results::BenchResult;
use cumo_results::schema::{Environment, Prefill};
use cumo_results::statistics::percentile;
use serde::Serialize;

use crate::bounds::{Bound, Bounding, Units};
use crate::device::{Device, Mode, Runs, same_mode};
use crate::error::Error;
use crate::measured_memory::{self, MeasuredMemory};
use crate::plan::{Plan, Planning, RunsOn};
use crate::precision::Precision;
use crate::subject::Subject;
use crate::weights::Part;

/// What a result of `cumo bench` reached of the bounds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measured {
    /// The precision that was measured.
    #[serde(flatten)]
    pub precision: Precision,
    /// The device that it was measured on, by the system's name, or the processor.
    pub on: Option<String>,
    /// What runs the precision on the planned device.
    pub runs_on: RunsOn,
    /// Every stage that was measured.
    pub stages: Vec<MeasuredStage>,
    /// Memory that was measured, beside what is planned for the same work.
    pub memory: Vec<MeasuredMemory>,
    /// Where device or mode of the result are others than the plan's: a sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A stage's median and its bound.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MeasuredStage {
    /// What was measured, for people.
    pub stage: String,
    /// The median, in milliseconds; of decoding, of a token.
    pub milliseconds: f64,
    /// The shortest time, in milliseconds.
    pub bound_milliseconds: f64,
    /// Measured over bound: how many times the shortest time it took.
    pub over_bound: f64,
    /// The share of the bound's speed that was reached: 1 is the bound itself.
    pub share: f64,
    /// What sets the bound.
    pub limit: crate::bounds::Limit,
}

impl Plan {
    /// Puts a result of `cumo bench` beside the bounds, for the question that was measured.
    ///
    /// # Errors
    /// [`Error::OtherModel`], [`Error::OtherPrecision`].
    pub fn with_result(mut self, subject: &Subject, result: &BenchResult) -> Result<Plan, Error> {
        let (device, mode) = (&self.device, &self.mode);
        self.measured = Some(measured(subject, device, mode, result)?);
        Ok(self)
    }
}

fn measured(
    subject: &Subject,
    device: &Device,
    mode: &Mode,
    result: &BenchResult,
) -> Result<Measured, Error> {
    if result.model.name != subject.sizes.name {
        return Err(Error::OtherModel {
            measured: result.model.name.clone(),
            model: subject.sizes.name.clone(),
        });
    }
    let precision = precision_of(result)?;
    let planning = Planning { subject, device, mode, system_bytes: device.system_bytes };
    let runs_on = planning.runs_on(precision);
    let environment = &result.environment;
    let name = environment.device.as_ref().map(|device| device.name.clone());
    let stages = match runs_on {
        RunsOn::Host => Vec::new(),
        RunsOn::Device | RunsOn::Processor => {
            let units = Units { mode, has_rate: runs_on == RunsOn::Device };
            stages(&Bounding { precision, sizes: &subject.sizes, units }, result)
        }
    };
    Ok(Measured {
        precision,
        on: name.or_else(|| environment.processor.name.clone()),
        runs_on,
        stages,
        memory: measured_memory::memory(&planning, precision, runs_on, result),
        notes: differences(device, mode, environment),
    })
}

/// What the measuring machine has that the planned device has not.
fn differences(device: &Device, mode: &Mode, environment: &Environment) -> Vec<String> {
    let mut notes = Vec::new();
    let board =
        environment.board.as_ref().map(|board| (&board.name, environment.main_memory_bytes));
    let card = environment.device.as_ref().map(|device| (&device.name, device.memory_bytes));
    let known = board.or(card).and_then(|(name, memory)| Device::by_system_name(name, memory));
    let on = match (&known, board.or(card), &environment.processor.name) {
        (Some(known), _, _) => known.id.clone(),
        (None, Some((name, _)), _) => format!("`{name}`, which is not in the table"),
        (None, None, Some(processor)) => format!("`{processor}`, a processor"),
        (None, None, None) => "an unnamed machine".to_owned(),
    };
    // A described device has no name that a result could have.
    if device.runs == Runs::Engines && on != device.id {
        notes.push(format!("it was measured on {on}, the bounds are those of {}", device.id));
    }
    let measured = environment.power_mode.as_deref().filter(|_| device.runs == Runs::Engines);
    if let Some(measured) = measured.filter(|measured| !same_mode(&mode.name, measured)) {
        notes.push(format!(
            "it was measured in mode {measured}, the bounds are those of {}",
            mode.name
        ));
    }
    notes
}

fn precision_of(result: &BenchResult) -> Result<Precision, Error> {
    let parts = &result.model.parts;
    let weights = parts.get(Part::Llm.name()).map(|part| part.weights.as_str());
    let target = Target::ALL.into_iter().find(|target| target.name() == result.model.target);
    let dtype = FloatType::ALL.into_iter().find(|dtype| Some(dtype.name()) == weights);
    match (target, dtype) {
        (Some(target), Some(dtype)) => Ok(Precision { target, dtype }),
        _ => Err(Error::OtherPrecision {
            target: result.model.target.clone(),
            dtype: weights.unwrap_or("unknown").to_owned(),
        }),
    }
}

fn stages(bounding: &Bounding<'_>, result: &BenchResult) -> Vec<MeasuredStage> {
    let question = &result.configuration;
    let images = question.images.len() as u64;
    let prompt = images * bounding.sizes.image_tokens() + question.prompt_tokens;
    let answers = result.answers.iter().map(|answer| &answer.first_token);
    let vision = median(answers.clone().filter_map(|part| part.vision_ns));
    let connector = median(answers.clone().filter_map(|part| part.connector_ns));
    let prefill = median(answers.filter_map(|part| part.prefill_ns));
    let named = |count: u64, what: &str| match count {
        1 => format!("{what}, 1 image"),
        count => format!("{what}, {count} images"),
    };
    let mut stages = Vec::new();
    if bounding.units.has_rate {
        stages.extend([
            stage(named(images, "vision"), vision, bounding.vision(images)),
            stage(named(images, "connector"), connector, bounding.connector(images)),
            stage(format!("prefill, {prompt} positions"), prefill, Some(bounding.pass(prompt, 0))),
        ]);
        stages.extend(result.prefill.iter().map(|row| prompt_row(bounding, row)));
    }
    for row in &result.generation {
        let tokens = row.repetitions_inter_token_ns.iter().flatten().copied();
        // The depth in the middle of what was generated: the bound is a straight line of it.
        let depth = row.depth_tokens + row.tokens / 2;
        let bound = bounding.decode(depth).token;
        let name = format!("tg {} behind {}", row.tokens, row.depth_tokens);
        stages.push(stage(name, median(tokens), Some(bound)));
    }
    stages.into_iter().flatten().collect()
}

/// One of llama-bench's `pp` rows.
fn prompt_row(bounding: &Bounding<'_>, row: &Prefill) -> Option<MeasuredStage> {
    let bound = bounding.pass(row.tokens, row.depth_tokens);
    let name = match row.depth_tokens {
        0 => format!("pp {}", row.tokens),
        depth => format!("pp {} behind {depth}", row.tokens),
    };
    stage(name, median(row.repetitions_ns.iter().copied()), Some(bound))
}

fn stage(name: String, nanoseconds: Option<f64>, bound: Option<Bound>) -> Option<MeasuredStage> {
    let (nanoseconds, bound) = (nanoseconds.filter(|ns| *ns > 0.0)?, bound?);
    let milliseconds = nanoseconds / 1e6;
    Some(MeasuredStage {
        stage: name,
        milliseconds,
        bound_milliseconds: bound.milliseconds,
        over_bound: milliseconds / bound.milliseconds,
        share: bound.milliseconds / milliseconds,
        limit: bound.limit,
    })
}

fn median(samples: impl Iterator<Item = u64>) -> Option<f64> {
    let mut sorted: Vec<f64> = samples.map(|ns| ns as f64).collect();
    sorted.sort_by(f64::total_cmp);
    percentile(&sorted, 50.0)
}
