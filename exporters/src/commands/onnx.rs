//! `cumo-export onnx`.

use std::io::Write;

use anyhow::Context;
use cumo_export::convert::OddWeight;
use cumo_export::{FloatType, OnnxOptions, RouterOutputs, Summary, export_onnx};

use crate::cli::OnnxArguments;
use crate::progress_bar::Display;
use crate::size;

/// How many weights with odd numbers are named before the rest is counted.
const NAMED_WEIGHTS: usize = 10;

/// Writes a bundle and says what it took.
pub(crate) fn run(arguments: &OnnxArguments) -> anyhow::Result<()> {
    let options = OnnxOptions {
        sources: arguments.checkpoint.sources(),
        output: arguments.output.clone(),
        target: arguments.target.0,
        dtype: arguments
            .dtype
            .map_or_else(|| FloatType::default_for(arguments.target.0), |dtype| dtype.0),
        moe: arguments.moe.map(|moe| moe.0),
        template: arguments.template,
        name: arguments.name.clone(),
        router_outputs: match (arguments.debug_outputs, arguments.no_choices) {
            (true, _) => RouterOutputs::All,
            (_, true) => RouterOutputs::None,
            _ => RouterOutputs::Choices,
        },
        force: arguments.force,
    };
    let display = Display::new()?;
    let summary = export_onnx(&options, &display).context("exporting the checkpoint")?;
    drop(display);
    super::warn_unneeded(&summary.unneeded);
    warn(&summary.odd_weights);
    let text = match arguments.json {
        true => json(&options, &summary)?,
        false => text(&options, &summary),
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

fn warn(odd: &[OddWeight]) {
    for OddWeight { name, oddities } in odd.iter().take(NAMED_WEIGHTS) {
        let kinds = [
            (oddities.nan, "NaN"),
            (oddities.infinite, "infinite"),
            (oddities.beyond_f16, "beyond f16's range, now infinite"),
        ];
        let found: Vec<String> = kinds
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, kind)| format!("{} {kind}", size::count(*count as u64)))
            .collect();
        eprintln!("warning: `{name}` has numbers that are {}", found.join(", "));
    }
    if odd.len() > NAMED_WEIGHTS {
        eprintln!("warning: and {} more weights like these", odd.len() - NAMED_WEIGHTS);
    }
}

fn text(options: &OnnxOptions, summary: &Summary) -> String {
    let memory = size::peak_memory()
        .map_or_else(String::new, |bytes| format!(", peak memory {}", size::bytes(bytes)));
    format!(
        "wrote {}: {} in {:.1} s{memory}\n",
        options.output.display(),
        size::bytes(summary.bytes),
        summary.seconds,
    )
}

fn json(options: &OnnxOptions, summary: &Summary) -> anyhow::Result<String> {
    let odd: Vec<_> = summary
        .odd_weights
        .iter()
        .map(|OddWeight { name, oddities }| {
            serde_json::json!({
                "name": name,
                "nan": oddities.nan,
                "infinite": oddities.infinite,
                "beyond_f16": oddities.beyond_f16,
            })
        })
        .collect();
    let summary = serde_json::json!({
        "bundle": options.output,
        "target": options.target.name(),
        "seconds": summary.seconds,
        "bytes": summary.bytes,
        "peak_memory_bytes": size::peak_memory(),
        "odd_weights": odd,
    });
    Ok(serde_json::to_string_pretty(&summary)? + "\n")
}
