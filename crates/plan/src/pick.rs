//! What fits best, and what would.

use std::cmp::Reverse;

use cumo_bundle::compute_capability_name;
use serde::Serialize;

use crate::device::{Device, Runs};
use crate::plan::{Planning, PrecisionPlan, Question, RunsOn};
use crate::precision::Precision;
use crate::text;

/// The precision and context that fit best.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Best {
    /// The precision: of those that run on the device the one with the most bits that has room for
    /// the question's context, or else for the longest.
    #[serde(flatten)]
    pub precision: Precision,
    /// Whether the question's context fits.
    pub fits_request: bool,
    /// The longest context that fits.
    pub context: u64,
}

/// What fits best. The device's own units come first; the processor beside them where nothing of
/// theirs fits.
pub(crate) fn best(plans: &[PrecisionPlan], question: &Question) -> Option<Best> {
    let on = |runs_on| {
        let fitting = plans.iter().filter(move |plan| plan.runs_on == runs_on);
        fitting.filter_map(|plan| Some((plan, plan.largest_context?)))
    };
    let key = |plan: &PrecisionPlan, context: u64| {
        let fits = plan.fits == Some(true);
        // Where nothing has room for the request, the longest context wins.
        let bits = if fits { plan.precision.dtype.stored().size() } else { 0 };
        // Of equals the one that needs least.
        (fits, bits, context, plan.made, Reverse(plan.total_bytes))
    };
    let best_on = |runs_on| {
        // Of equals the first, which is the order of the targets.
        on(runs_on).reduce(|best, next| match key(next.0, next.1) > key(best.0, best.1) {
            true => next,
            false => best,
        })
    };
    let (plan, context) = best_on(RunsOn::Device).or_else(|| best_on(RunsOn::Processor))?;
    debug_assert!(context > question.prompt_positions);
    Some(Best { precision: plan.precision, fits_request: plan.fits == Some(true), context })
}

/// What to do, where the request does not fit; what is to be known of it, where it does.
pub(crate) fn advice(
    planning: &Planning<'_>,
    plans: &[PrecisionPlan],
    best: Option<&Best>,
    question: &Question,
) -> Vec<String> {
    let mut advice = Vec::new();
    advice.extend(other_devices(planning));
    let own = plans.iter().filter(|plan| plan.runs_on == RunsOn::Device);
    let Some(smallest) = own.min_by_key(|plan| plan.total_bytes) else { return advice };
    advice.extend(beyond_engines(planning, question));
    match best {
        Some(Best { fits_request: true, .. }) => return advice,
        Some(best) => advice.push(format!(
            "{} fits with a context of {} (--context {})",
            best.precision, best.context, best.context
        )),
        None => advice.push(format!(
            "the least, {}, needs {} more than there is",
            smallest.precision,
            text::gib(smallest.missing_bytes)
        )),
    }
    if let Some(images) = fewer_images(planning, smallest.precision, question) {
        advice.push(format!("{} fits with --images {images}", smallest.precision));
    }
    let devices = larger_devices(planning.device, smallest.total_bytes);
    if !devices.is_empty() {
        advice.push(format!("devices with room for it: {}", devices.join(", ")));
    }
    advice
}

/// Whether what is there was made for other devices than the one that is planned for.
fn other_devices(planning: &Planning<'_>) -> Option<String> {
    let made = planning.subject.made.as_ref()?;
    let device = planning.device;
    let capability = device.compute_capability?;
    let name = compute_capability_name(capability);
    match &made.tensorrt {
        Some(built) if !built.is_for(capability) => Some(format!(
            "the engines are for {} ({} {}) and do not run on {}, which has {name}: build \
             others for it (cumo-export engine)",
            built.devices(),
            built.flavour,
            built.version,
            device.id
        )),
        _ => None,
    }
}

/// What engines that were built do not take.
fn beyond_engines(planning: &Planning<'_>, question: &Question) -> Vec<String> {
    let made = planning.subject.made.as_ref();
    let Some(limits) = made.and_then(|made| made.limits.as_ref()) else { return Vec::new() };
    let mut advice = Vec::new();
    if question.context > limits.max_context as u64 {
        advice.push(format!(
            "the engines take a context of {}; build them with --max-context {} for this one",
            limits.max_context, question.context
        ));
    }
    if question.images > limits.max_images as u64 {
        advice.push(format!(
            "the engines take {} in one call; several calls take longer than the bound",
            match limits.max_images {
                1 => "1 image".to_owned(),
                images => format!("{images} images"),
            }
        ));
    }
    advice
}

/// The most images, of less than were asked for, with which a precision fits.
fn fewer_images(planning: &Planning<'_>, precision: Precision, question: &Question) -> Option<u64> {
    let tokens = planning.subject.sizes.image_tokens();
    let fits = |images: u64| {
        let less = question.with_images(images, tokens);
        planning.total(precision, &less, question.context) <= planning.available()
    };
    if question.images == 0 || !fits(0) {
        return None;
    }
    let (mut low, mut high) = (0, question.images);
    while low + 1 < high {
        let middle = low + (high - low) / 2;
        if fits(middle) { low = middle } else { high = middle }
    }
    (!fits(question.images)).then_some(low)
}

/// Up to four devices of the table with room for so many bytes: those of the device's kind (boards
/// or cards) before others, the smallest first.
fn larger_devices(than: &Device, total_bytes: u64) -> Vec<String> {
    // Of a device that was described nobody knows its kind.
    let is_other = |device: &Device| than.runs != Runs::All && device.unified != than.unified;
    let room = |device: &Device| device.visible_bytes - device.system_bytes;
    let mut devices: Vec<Device> =
        Device::all().into_iter().filter(|device| room(device) >= total_bytes).collect();
    devices.sort_by_key(|device| (is_other(device), room(device)));
    devices.into_iter().take(4).map(|device| device.id).collect()
}
