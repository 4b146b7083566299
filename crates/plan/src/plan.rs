//! The plan: for every precision what it needs, whether it fits, and its bounds.

use cumo_bundle::EngineLimits;
use serde::Serialize;

use crate::bounds::{Bounding, Bounds, Units};
use crate::device::{Device, Mode, Runs};
use crate::error::Error;
use crate::measured::Measured;
use crate::memory::{self, Run};
use crate::pick::{self, Best};
use crate::precision::Precision;
use crate::sizes::{ModelSizes, as_u64};
use crate::subject::Subject;
use crate::weights::{self, Parameters, Part};

/// The value of a plan's `format` key.
pub const FORMAT: &str = "cumo-plan";

/// The version of a plan's JSON form.
pub const FORMAT_VERSION: u32 = 1;

/// Positions of one prefill pass that engines are built for where nothing is asked for.
const ENGINE_PASS: u64 = 2048;

/// Crops that the runtime gives to ONNX Runtime at once; an image with more goes alone.
const CROPS_OF_A_CALL: u64 = 16;

/// The context that is planned for where nothing is asked for and the model has as much.
const CONTEXT: u64 = 4096;

/// Text tokens of the prompt where nothing is asked for.
const PROMPT_TOKENS: u64 = 64;

/// What is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Positions that the cache has room for; by default 4,096, or the model's or the engines' if
    /// these are less.
    pub context: Option<u64>,
    /// Images of a question; none is text alone.
    pub images: u64,
    /// Text tokens of a question; by default 64, or what the context has room for.
    pub prompt_tokens: Option<u64>,
    /// The power mode's name; by default the device's default.
    pub mode: Option<String>,
    /// Bytes that system and driver are taken to need; by default the device's.
    pub system_bytes: Option<u64>,
}

/// A model on a device.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// Always [`FORMAT`].
    pub format: &'static str,
    /// Always [`FORMAT_VERSION`].
    pub format_version: u32,
    /// The model.
    pub model: ModelReport,
    /// The device.
    pub device: Device,
    /// The power mode that the bounds are of.
    pub mode: Mode,
    /// What was asked, with the defaults filled in.
    pub request: Question,
    /// Bytes that a model can have.
    pub available_bytes: u64,
    /// Every precision that can be exported.
    pub precisions: Vec<PrecisionPlan>,
    /// What fits best; none where nothing does.
    pub best: Option<Best>,
    /// What to do, a sentence each.
    pub advice: Vec<String>,
    /// A measurement against its bounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured: Option<Measured>,
}

/// The model's name and parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelReport {
    /// Its name.
    pub name: String,
    /// Positions that it was made for.
    pub context_length: u64,
    /// Positions that an image takes.
    pub image_tokens: u64,
    /// Parameters that inference uses, by part.
    pub parameters: Vec<Parameters>,
}

/// The question that is planned for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Question {
    /// Positions that the cache has room for.
    pub context: u64,
    /// Images.
    pub images: u64,
    /// Text tokens.
    pub prompt_tokens: u64,
    /// Positions of the prompt, images and text.
    pub prompt_positions: u64,
}

/// A precision on the device.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PrecisionPlan {
    /// Target and type.
    #[serde(flatten)]
    pub precision: Precision,
    /// Whether it is that of the bundle that was asked about: its weights are those of the files.
    pub made: bool,
    /// What runs it.
    pub runs_on: RunsOn,
    /// Bytes of the weights, by part.
    pub weights: Vec<PartBytes>,
    /// Bytes of all weights, in the files.
    pub weights_bytes: u64,
    /// Bytes of all weights in memory: more than in the files where f32 copies of them are kept.
    pub held_weights_bytes: u64,
    /// Bytes of the cache.
    pub cache_bytes: u64,
    /// Bytes of activations, estimated.
    pub activations_bytes: u64,
    /// Weights in memory, cache and activations.
    pub total_bytes: u64,
    /// Whether that is there; none where it does not run in the device's memory.
    pub fits: Option<bool>,
    /// Bytes that are missing.
    pub missing_bytes: u64,
    /// The longest context that fits, with the same question; none where not even the prompt does.
    pub largest_context: Option<u64>,
    /// The context that engines were built for; none of what is no engines yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub built_context: Option<u64>,
    /// Its bounds; none where it does not run on the device.
    pub bounds: Option<Bounds>,
}

/// Bytes of a part's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PartBytes {
    /// The part.
    pub part: Part,
    /// Bytes.
    pub bytes: u64,
}

impl PrecisionPlan {
    /// The longest context that fits and, of engines, that they were built for.
    pub(crate) fn longest_context(&self) -> Option<String> {
        let fits = self.largest_context?;
        Some(match self.built_context {
            Some(built) if built <= fits => format!("{built} as built"),
            _ => fits.to_string(),
        })
    }
}

/// What runs a precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RunsOn {
    /// The device's own units.
    Device,
    /// The processor, in the memory that it shares with the device: bandwidth bounds it, and its
    /// own rate, which is not in the table.
    Processor,
    /// The processor, in memory of its own.
    Host,
}

/// Plans a model on a device.
///
/// # Errors
/// [`Error::Option`] for a question that the model has no room for; [`Error::UnknownMode`].
pub fn plan(subject: &Subject, device: &Device, request: &Request) -> Result<Plan, Error> {
    let mode = device.mode(request.mode.as_deref())?.clone();
    let question = Question::of(subject, request)?;
    let system_bytes = request.system_bytes.unwrap_or(device.system_bytes);
    if system_bytes > device.visible_bytes {
        let reason = format!("{} has {} bytes", device.name, device.visible_bytes);
        return Err(Error::Option {
            option: "--reserve-gb",
            value: format!("({system_bytes} bytes)"),
            reason,
        });
    }
    let planning = Planning { subject, device, mode: &mode, system_bytes };
    let precisions: Vec<PrecisionPlan> = Precision::all()
        .into_iter()
        .map(|precision| planning.precision(precision, &question))
        .collect();
    let best = pick::best(&precisions, &question);
    let advice = pick::advice(&planning, &precisions, best.as_ref(), &question);
    let device = Device { system_bytes, ..device.clone() };
    Ok(Plan {
        format: FORMAT,
        format_version: FORMAT_VERSION,
        model: ModelReport::of(&subject.sizes),
        available_bytes: device.visible_bytes - system_bytes,
        device,
        mode,
        request: question,
        precisions,
        best,
        advice,
        measured: None,
    })
}

impl ModelReport {
    fn of(sizes: &ModelSizes) -> ModelReport {
        ModelReport {
            name: sizes.name.clone(),
            context_length: sizes.context_length(),
            image_tokens: sizes.image_tokens(),
            parameters: Part::ALL.map(|part| weights::parameters(part, sizes)).to_vec(),
        }
    }
}

impl Question {
    fn of(subject: &Subject, request: &Request) -> Result<Question, Error> {
        let model = subject.sizes.context_length();
        let limits = subject.made.as_ref().and_then(|made| made.limits.as_ref());
        let built = limits.map(|limits| limits.max_context as u64);
        let context = request.context.unwrap_or_else(|| built.unwrap_or(CONTEXT).min(model));
        let refuse = |option, value: u64, reason| {
            Err(Error::Option { option, value: value.to_string(), reason })
        };
        if context == 0 || context > model {
            return refuse("--context", context, format!("the model has 1 to {model} positions"));
        }
        let named = match (request.context, built) {
            (None, Some(built)) if built == context => "the engines' context of",
            _ => "--context",
        };
        let image_tokens = subject.sizes.image_tokens();
        let seen = request.images.saturating_mul(image_tokens);
        // A position is left for the answer.
        let room = context.saturating_sub(1).saturating_sub(seen);
        let prompt_tokens = request.prompt_tokens.unwrap_or(PROMPT_TOKENS.min(room.max(1)));
        if prompt_tokens == 0 {
            return refuse("--prompt-tokens", 0, "a prompt has tokens".to_owned());
        }
        let prompt_positions = seen.saturating_add(prompt_tokens);
        if prompt_positions >= context {
            let reason = format!(
                "the prompt has {prompt_positions} positions ({} of {image_tokens}, \
                 {prompt_tokens} of text), which leaves none for an answer",
                match request.images {
                    1 => "1 image".to_owned(),
                    images => format!("{images} images"),
                }
            );
            return refuse(named, context, reason);
        }
        Ok(Question { context, images: request.images, prompt_tokens, prompt_positions })
    }

    /// The same question with another number of images.
    pub(crate) fn with_images(&self, images: u64, image_tokens: u64) -> Question {
        let prompt_positions = images * image_tokens + self.prompt_tokens;
        Question { images, prompt_positions, ..self.clone() }
    }
}

/// What all precisions are planned with.
pub(crate) struct Planning<'a> {
    pub(crate) subject: &'a Subject,
    pub(crate) device: &'a Device,
    pub(crate) mode: &'a Mode,
    pub(crate) system_bytes: u64,
}

impl Planning<'_> {
    /// Bytes that a model can have.
    pub(crate) fn available(&self) -> u64 {
        self.device.visible_bytes.saturating_sub(self.system_bytes)
    }

    pub(crate) fn precision(&self, precision: Precision, question: &Question) -> PrecisionPlan {
        let weights = self.weights(precision);
        let weights_bytes = weights.iter().map(|part| part.bytes).fold(0, u64::saturating_add);
        let run = self.run(precision, question, question.context);
        let sizes = &self.subject.sizes;
        let total_bytes = self.total(precision, question, question.context);
        let runs_on = self.runs_on(precision);
        let missing = total_bytes.saturating_sub(self.available());
        let in_memory = runs_on != RunsOn::Host;
        let bounds = in_memory.then(|| {
            let has_rate = runs_on == RunsOn::Device;
            let units = Units { mode: self.mode, has_rate };
            let Question { context, images, prompt_positions, .. } = *question;
            Bounding { precision, sizes, units }.all(images, prompt_positions, context)
        });
        PrecisionPlan {
            precision,
            made: self.made(precision).is_some(),
            runs_on,
            weights,
            weights_bytes,
            held_weights_bytes: self.held_weights(precision),
            cache_bytes: cache_bytes(precision, sizes, &run),
            activations_bytes: as_u64(memory::activations(precision, sizes, &run)),
            total_bytes,
            fits: in_memory.then_some(missing == 0),
            missing_bytes: if in_memory { missing } else { 0 },
            largest_context: self.largest_context(precision, question).filter(|_| in_memory),
            built_context: self.limits(precision).map(|limits| limits.max_context as u64),
            bounds,
        }
    }

    /// Bytes of everything at a context.
    pub(crate) fn total(&self, precision: Precision, question: &Question, context: u64) -> u64 {
        let run = self.run(precision, question, context);
        let sizes = &self.subject.sizes;
        let activations = as_u64(memory::activations(precision, sizes, &run));
        self.held_weights(precision)
            .saturating_add(cache_bytes(precision, sizes, &run))
            .saturating_add(activations)
    }

    /// What runs a precision.
    pub(crate) fn runs_on(&self, precision: Precision) -> RunsOn {
        match (self.device.runs, precision.is_for_engines(), self.device.unified) {
            (Runs::All, _, _) | (Runs::Engines, true, _) => RunsOn::Device,
            (Runs::Engines, false, true) => RunsOn::Processor,
            (Runs::Engines, false, false) => RunsOn::Host,
        }
    }

    fn made(&self, precision: Precision) -> Option<&crate::subject::Made> {
        self.subject.made.as_ref().filter(|made| made.precision == precision)
    }

    /// What engines that were built take.
    fn limits(&self, precision: Precision) -> Option<&EngineLimits> {
        self.made(precision).and_then(|made| made.limits.as_ref())
    }

    fn weights(&self, precision: Precision) -> Vec<PartBytes> {
        let sizes = &self.subject.sizes;
        let of = |(index, part): (usize, Part)| {
            let file = self.made(precision).and_then(|made| made.weights.get(index));
            let counted = || as_u64(weights::held(part, precision, sizes));
            PartBytes { part, bytes: file.copied().unwrap_or_else(counted) }
        };
        Part::ALL.into_iter().enumerate().map(of).collect()
    }

    /// Bytes of all weights in memory. What is copied at load is not needed of the mapped files, whose
    /// pages the system then drops; the table of embeddings is looked up where it lies.
    fn held_weights(&self, precision: Precision) -> u64 {
        let files = self.weights(precision).into_iter();
        let held = files.map(|PartBytes { part, bytes }| match part {
            Part::Embed => bytes,
            _ => bytes.max(as_u64(weights::held(part, precision.in_memory(), &self.subject.sizes))),
        });
        held.fold(0, u64::saturating_add)
    }

    fn run(&self, precision: Precision, question: &Question, context: u64) -> Run {
        let limits = self.limits(precision);
        let Question { images, prompt_positions, .. } = *question;
        let (images, pass) = match (precision.is_for_engines(), limits) {
            (true, Some(limits)) => {
                (images.min(limits.max_images as u64), limits.max_prompt as u64)
            }
            // An engine has room for its longest pass, whatever the prompt.
            (true, None) => (images, prompt_positions.max(ENGINE_PASS)),
            // The runtime gives ONNX Runtime few images at a time, and the prompt as it is.
            (false, _) => {
                let crops = as_u64(self.subject.sizes.tower.crops);
                (images.min((CROPS_OF_A_CALL / crops).max(1)), prompt_positions)
            }
        };
        let (context, pass) = (u128::from(context), u128::from(pass));
        Run { context, images: u128::from(images), pass: pass.min(context) }
    }

    /// The longest context that fits, by halves: more positions never need less memory.
    fn largest_context(&self, precision: Precision, question: &Question) -> Option<u64> {
        let fits = |context| self.total(precision, question, context) <= self.available();
        let (mut low, mut high) =
            (question.prompt_positions + 1, self.subject.sizes.context_length());
        if !fits(low) {
            return None;
        }
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            match fits(middle) {
                true => low = middle,
                false => high = middle - 1,
            }
        }
        Some(low)
    }
}

fn cache_bytes(precision: Precision, sizes: &ModelSizes, run: &Run) -> u64 {
    as_u64(memory::cache_position(precision, sizes) * run.context)
}
