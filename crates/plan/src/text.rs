//! A plan for people.

use std::fmt::{self, Write};

use crate::bounds::{Bound, Bounds, Limit};
use crate::device::Device;
use crate::measured::Measured;
use crate::pick::Best;
use crate::plan::{Plan, PrecisionPlan, RunsOn};

/// Bytes in GiB, with two digits behind the point below 100; what is less than a hundredth of one in
/// MiB or KiB.
pub(crate) fn gib(bytes: u64) -> String {
    if bytes > 0 && bytes < (1 << 30) / 100 {
        return match bytes < (1 << 20) / 10 {
            true => format!("{:.2} KiB", bytes as f64 / 1024.0),
            false => format!("{:.2} MiB", bytes as f64 / f64::from(1 << 20)),
        };
    }
    let value = bytes as f64 / (1_u64 << 30) as f64;
    match value < 99.995 {
        true => format!("{value:.2} GiB"),
        false => format!("{value:.0} GiB"),
    }
}

/// Milliseconds, or seconds where these are many.
pub(crate) fn time(milliseconds: f64) -> String {
    match milliseconds {
        ms if ms >= 9_999.5 => format!("{:.1} s", ms / 1000.0),
        ms if ms >= 99.95 => format!("{ms:.0} ms"),
        ms if ms >= 9.995 => format!("{ms:.1} ms"),
        ms => format!("{ms:.2} ms"),
    }
}

pub(crate) fn joules(joules: f64) -> String {
    match joules {
        j if j >= 99.95 => format!("{j:.0} J"),
        j if j >= 0.995 => format!("{j:.1} J"),
        j => format!("{j:.2} J"),
    }
}

/// A number of parameters: `7.24 G`, `908 M`.
fn count(number: u64) -> String {
    match number as f64 {
        n if n >= 1e9 => format!("{:.2} G", n / 1e9),
        n if n >= 1e5 => format!("{:.1} M", n / 1e6),
        n => format!("{n:.0}"),
    }
}

/// Rows under a head, as wide as their widest cell; the first column to the left, the others to the
/// right.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&head).chain(rows).collect();
    let width = |column: usize| {
        let cells = all.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for row in all {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            match column {
                0 => line.push_str(&format!("{cell:<width$}")),
                _ => line.push_str(&format!("  {cell:>width$}")),
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&head(self))?;
        f.write_str(&memory(self))?;
        f.write_str(&bounds(self))?;
        if let Some(measured) = &self.measured {
            f.write_str(&against_bounds(measured))?;
        }
        f.write_char('\n')?;
        match &self.best {
            Some(best) if best.fits_request => writeln!(
                f,
                "best: {}, a context of {} ({})",
                best.precision,
                self.request.context,
                room(self, best)
            )?,
            Some(best) => writeln!(
                f,
                "best: {}, a context of {}; {} does not fit",
                best.precision, best.context, self.request.context
            )?,
            None => f.write_str("best: nothing fits\n")?,
        }
        self.advice.iter().try_for_each(|sentence| writeln!(f, "  {sentence}"))
    }
}

/// How much longer a context could be.
fn room(plan: &Plan, best: &Best) -> String {
    let built = plan.precisions.iter().find(|row| row.precision == best.precision);
    match built.and_then(|row| row.built_context) {
        Some(built) if built == plan.request.context => "as built".to_owned(),
        Some(built) if built <= best.context => format!("{built} as built"),
        _ => format!("up to {} fits", best.context),
    }
}

fn head(plan: &Plan) -> String {
    let Plan { model, device, mode, request, .. } = plan;
    let parameters = model.parameters.iter().map(|part| {
        let active = match part.active == part.parameters {
            true => String::new(),
            false => format!(" ({} of them for a token)", count(part.active)),
        };
        format!("{} {}{active}", part.part.name(), count(part.parameters))
    });
    let all: u64 = model.parameters.iter().map(|part| part.parameters).fold(0, u64::saturating_add);
    let told = |watts: &f64| mode.name != format!("{watts}W");
    let watts = mode.watts.filter(told).map_or_else(String::new, |watts| format!(", {watts} W"));
    let system = format!(
        "{} of {} that {} tells, {} for the system (assumed; --reserve-gb gives another)",
        gib(plan.available_bytes),
        gib(device.visible_bytes),
        if device.unified { "the system" } else { "the driver" },
        gib(device.system_bytes),
    );
    format!(
        "model    {}: {} parameters; {}\n\
         device   {}, mode {}{watts}: {:.1} GB/s, {:.1} TFLOPS f16\n\
         memory   {system}\n\
         question {}, {} tokens of text: a prompt of {} positions; a context of {}\n\n",
        model.name,
        count(all),
        parameters.collect::<Vec<_>>().join(", "),
        device.name,
        mode.name,
        mode.bandwidth_gbs,
        mode.f16_tflops,
        match request.images {
            0 => "no image".to_owned(),
            1 => format!("1 image of {}", model.image_tokens),
            images => format!("{images} images of {}", model.image_tokens),
        },
        request.prompt_tokens,
        request.prompt_positions,
        request.context,
    )
}

fn memory(plan: &Plan) -> String {
    let row = |row: &PrecisionPlan| {
        let fits = match row.fits {
            Some(true) => "yes".to_owned(),
            Some(false) => format!("{} too much", gib(row.missing_bytes)),
            None => "on the host".to_owned(),
        };
        let star = if row.held_weights_bytes > row.weights_bytes { "*" } else { "" };
        let made = match (row.made, row.built_context) {
            (false, _) => "",
            (true, None) => " (this bundle)",
            (true, Some(_)) => " (these engines)",
        };
        let beside = if row.runs_on == RunsOn::Processor { " (processor)" } else { "" };
        vec![
            format!("{}{made}{beside}", row.precision),
            format!("{}{star}", gib(row.held_weights_bytes)),
            gib(row.cache_bytes),
            gib(row.activations_bytes),
            gib(row.total_bytes),
            fits,
            row.longest_context().unwrap_or_else(|| "-".to_owned()),
        ]
    };
    let rows: Vec<_> = plan.precisions.iter().map(row).collect();
    let head = ["memory", "weights", "cache", "activations", "all", "fits", "longest context"];
    let copied = plan.precisions.iter().any(|row| row.held_weights_bytes > row.weights_bytes);
    let note = if copied { "; * ONNX Runtime keeps f16 weights as f32" } else { "" };
    table(&head, &rows) + "activations are an estimate" + note + "\n\n"
}

fn bounds(plan: &Plan) -> String {
    let with_bounds = |row: &PrecisionPlan| Some((row.precision, row.bounds.clone()?));
    let bounded: Vec<_> = plan.precisions.iter().filter_map(with_bounds).collect();
    let Some((_, first)) = bounded.first() else { return String::new() };
    let prefill = format!("prefill {}", plan.request.prompt_positions);
    let depths: Vec<String> =
        first.decode.iter().map(|bound| format!("decode at {}", bound.depth_tokens)).collect();
    let mut head = vec!["no faster than", "vision", "connector", &prefill, "first token"];
    head.extend(depths.iter().map(String::as_str));
    let has_watts = plan.mode.watts.is_some();
    if has_watts {
        head.extend(["an image", "a token"]);
    }
    let rows: Vec<Vec<String>> = bounded
        .iter()
        .map(|(precision, bounds)| {
            bounds_row(precision.to_string(), bounds, plan.request.images, has_watts)
        })
        .collect();
    table(&head, &rows)
        + "c: the tensor rate sets it, b: the bandwidth; no program reaches either\n"
}

fn bounds_row(name: String, bounds: &Bounds, images: u64, has_watts: bool) -> Vec<String> {
    let letter = |limit: Limit| if limit == Limit::Compute { 'c' } else { 'b' };
    let stage = |bound: Option<Bound>| {
        let text = |bound: Bound| format!("{} {}", time(bound.milliseconds), letter(bound.limit));
        bound.map_or_else(|| "-".to_owned(), text)
    };
    let mut row = vec![
        name,
        stage(bounds.vision),
        stage(bounds.connector),
        stage(bounds.prefill),
        bounds.first_token_milliseconds.map_or_else(|| "-".to_owned(), time),
    ];
    row.extend(bounds.decode.iter().map(|bound| {
        format!("{:.1} tok/s {}", bound.tokens_per_second, letter(bound.token.limit))
    }));
    if has_watts {
        let image = bounds.joules_of_an_image(images);
        let token = bounds.decode.first().and_then(|bound| bound.token.joules);
        row.extend([image, token].map(|energy| energy.map_or_else(|| "-".to_owned(), joules)));
    }
    row
}

fn against_bounds(measured: &Measured) -> String {
    let on = measured.on.as_deref().unwrap_or("an unnamed machine");
    let mut text = format!("\nmeasured: {} on {on}\n", measured.precision);
    if measured.runs_on == RunsOn::Host {
        text.push_str("it ran beside the device, so the device does not bound it\n");
    }
    let row = |stage: &crate::measured::MeasuredStage| {
        let limit = if stage.limit == Limit::Compute { "compute" } else { "bandwidth" };
        vec![
            stage.stage.clone(),
            time(stage.milliseconds),
            time(stage.bound_milliseconds),
            format!("{:.2}", stage.over_bound),
            format!("{:.1} %", stage.share * 100.0),
            limit.to_owned(),
        ]
    };
    let rows: Vec<_> = measured.stages.iter().map(row).collect();
    if measured.runs_on != RunsOn::Host {
        let head = ["median of", "measured", "bound", "over bound", "share", "set by"];
        text.push_str(&table(&head, &rows));
    }
    let row = |row: &crate::measured_memory::MeasuredMemory| {
        vec![
            row.memory.clone(),
            gib(row.measured_bytes),
            row.planned_bytes.map_or_else(|| "-".to_owned(), gib),
            row.over_plan.map_or_else(|| "-".to_owned(), |over| format!("{over:.2}")),
        ]
    };
    if !measured.memory.is_empty() {
        let rows: Vec<_> = measured.memory.iter().map(row).collect();
        text.push_str(&table(&["memory", "measured", "planned", "over plan"], &rows));
    }
    for note in &measured.notes {
        text.push_str(&format!("{note}\n"));
    }
    text
}

/// The table of devices for people: `--device list`.
pub fn device_list(devices: &[Device]) -> String {
    let rows: Vec<Vec<String>> = devices
        .iter()
        .flat_map(|device| {
            device.modes.iter().enumerate().map(move |(index, mode)| {
                let first = |text: String| if index == 0 { text } else { String::new() };
                let capability = device
                    .compute_capability
                    .map_or_else(|| "-".to_owned(), cumo_bundle::compute_capability_name);
                vec![
                    first(device.id.clone()),
                    first(format!(
                        "{} GB{}",
                        device.memory_gb,
                        if device.unified { " shared" } else { "" }
                    )),
                    first(gib(device.visible_bytes - device.system_bytes)),
                    first(capability),
                    mode.name.clone()
                        + if index == 0 && device.modes.len() > 1 { " (default)" } else { "" },
                    format!("{:.1}", mode.bandwidth_gbs),
                    format!("{:.1}", mode.f16_tflops),
                ]
            })
        })
        .collect();
    let head = ["device", "memory", "for models", "capability", "mode", "GB/s", "TFLOPS f16"];
    table(&head, &rows)
}
