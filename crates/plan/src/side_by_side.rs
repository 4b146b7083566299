//! A model on several devices, a row each.

use crate::bounds::Bound;
use crate::plan::{Plan, PrecisionPlan, RunsOn};
use crate::text::{gib, joules, table, time};

/// Plans of one model and question as a table: of each device the precision that fits best, or that
/// lacks least, what it needs, and its bounds.
pub fn side_by_side(plans: &[Plan]) -> String {
    let Some(first) = plans.first() else { return String::new() };
    let request = &first.request;
    let prefill = format!("prefill {}", request.prompt_positions);
    let decode = format!("decode at {}", request.prompt_positions);
    let head = [
        "device",
        "mode",
        "for models",
        "best",
        "needs",
        "fits",
        "longest context",
        "vision",
        "connector",
        &prefill,
        "first token",
        &decode,
        "an image",
        "a token",
    ];
    let rows: Vec<Vec<String>> = plans.iter().map(row).collect();
    let images = match request.images {
        0 => "no image".to_owned(),
        1 => format!("1 image of {}", first.model.image_tokens),
        images => format!("{images} images of {}", first.model.image_tokens),
    };
    let mut text = format!(
        "model    {}\nquestion {images}, {} tokens of text; a context of {}\n\n",
        first.model.name, request.prompt_tokens, request.context
    );
    text += &table(&head, &rows);
    text +=
        "times are bounds, which no program reaches; joules those of the mode's watts over them\n";
    for plan in plans {
        for sentence in &plan.advice {
            text += &format!("{}: {sentence}\n", plan.device.id);
        }
    }
    text
}

fn row(plan: &Plan) -> Vec<String> {
    let none = || "-".to_owned();
    let mut cells = vec![plan.device.id.clone(), plan.mode.name.clone(), gib(plan.available_bytes)];
    let shown = shown(plan);
    let Some(row) = shown else {
        cells.resize_with(14, none);
        return cells;
    };
    let beside = if row.runs_on == RunsOn::Processor { " (processor)" } else { "" };
    let fits = match row.fits {
        Some(true) => "yes".to_owned(),
        Some(false) => format!("{} too much", gib(row.missing_bytes)),
        None => "on the host".to_owned(),
    };
    cells.extend([
        format!("{}{beside}", row.precision),
        gib(row.total_bytes),
        fits,
        row.longest_context().unwrap_or_else(none),
    ]);
    let bounds = row.bounds.as_ref();
    let stage = |bound: Option<Bound>| bound.map_or_else(none, |bound| time(bound.milliseconds));
    cells.extend([
        stage(bounds.and_then(|bounds| bounds.vision)),
        stage(bounds.and_then(|bounds| bounds.connector)),
        stage(bounds.and_then(|bounds| bounds.prefill)),
        bounds.and_then(|bounds| bounds.first_token_milliseconds).map_or_else(none, time),
    ]);
    let decode = bounds.and_then(|bounds| bounds.decode.first());
    cells.push(decode.map_or_else(none, |bound| format!("{:.1} tok/s", bound.tokens_per_second)));
    let image = bounds.and_then(|bounds| bounds.joules_of_an_image(plan.request.images));
    let token = decode.and_then(|bound| bound.token.joules);
    cells.extend([image, token].map(|energy| energy.map_or_else(none, joules)));
    cells
}

/// The precision that fits best; where none fits, the one of the device's own that lacks least.
fn shown(plan: &Plan) -> Option<&PrecisionPlan> {
    let best = plan.best.as_ref().map(|best| best.precision);
    let found = plan.precisions.iter().find(|row| Some(row.precision) == best);
    let own = plan.precisions.iter().filter(|row| row.runs_on == RunsOn::Device);
    found.or_else(|| own.min_by_key(|row| row.total_bytes))
}
