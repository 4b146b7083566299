//! `cumo-export engine`.

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use cumo_bundle::{Bundle, ENGINES_FORMAT, Engines, Error, FORMAT, Target, WeightsFiles, names};
use cumo_checkpoint::Sources;
use cumo_export::engine::{
    Advice, EngineInput, EngineOptions, EngineSummary, Findings, Sizes, WeightsPlace, build_engines,
};
use cumo_results::presentable;
use cumo_tensorrt::{Flavour, LibraryPlaces};

use crate::cli::EngineArguments;
use crate::engine_bar::EngineBar;
use crate::explain::Explanation;
use crate::size;

/// Builds engines and says what it took, or says what engines are made of.
pub(crate) fn run(arguments: &EngineArguments) -> anyhow::Result<()> {
    let text = match (&arguments.output, arguments.explain) {
        (Some(output), false) => build(arguments, output)?,
        _ => explain(arguments)?,
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

fn explain(arguments: &EngineArguments) -> anyhow::Result<String> {
    let path = &arguments.input;
    let engines = Engines::open(path).map_err(|error| match error {
        Error::EnginesVersion { format, .. } if format == FORMAT => anyhow::anyhow!(
            "{0}: a bundle, not engines: --explain is for the engines that `cumo-export engine {0} \
             -o ENGINES` makes of it",
            path.display()
        ),
        other => other.into(),
    })?;
    let explanation = Explanation::of(&engines, arguments.plugin.as_deref())?;
    Ok(match arguments.json {
        true => serde_json::to_string_pretty(&explanation)? + "\n",
        false => explanation.to_string(),
    })
}

fn build(arguments: &EngineArguments, output: &Path) -> anyhow::Result<String> {
    let path = &arguments.input;
    if let Err(Error::Version { format, .. }) = Bundle::read_manifest(path)
        && format == ENGINES_FORMAT
    {
        anyhow::bail!(
            "{0}: engines, not a bundle: give the bundle or checkpoint that they were built of; \
             `cumo-export engine --explain {0}` says what they are made of",
            path.display()
        );
    }
    let options = options(arguments, output)?;
    let bar = EngineBar::new()?;
    let summary = build_engines(&options, &bar)
        .with_context(|| format!("building engines of {}", arguments.input.display()))?;
    drop(bar);
    warn(&summary.findings);
    match arguments.json {
        true => json(&options, &summary),
        false => Ok(text(&options, &summary)),
    }
}

fn options(arguments: &EngineArguments, output: &Path) -> anyhow::Result<EngineOptions> {
    let constant_weights = arguments.weights == "const";
    if arguments.layers.is_some() && !constant_weights {
        anyhow::bail!(
            "--layers is for --weights const: with weights as inputs a layer is built once"
        );
    }
    let target = match arguments.target.as_str() {
        "tensorrt-10.3" => Target::Tensorrt103,
        _ => Target::Tensorrt,
    };
    Ok(EngineOptions {
        input: input(arguments),
        output: output.to_owned(),
        target,
        flavour: Flavour::from_name(&arguments.flavour),
        libraries: LibraryPlaces::default(),
        sizes: Sizes {
            max_images: arguments.max_images,
            batch: arguments.batch,
            max_prompt: arguments.max_prompt,
            max_context: arguments.max_context,
        },
        workspace_bytes: arguments.workspace.map(|mebibytes| mebibytes << 20),
        timing_cache: arguments.timing_cache.clone(),
        devices: arguments.device.clone(),
        constant_weights,
        constant_layers: arguments.layers,
        moe: arguments.moe.map(|moe| moe.0),
        plugin: arguments.plugin.clone(),
        weights_place: match arguments.weights_files.as_str() {
            "copy" => WeightsPlace::Copy,
            _ => WeightsPlace::Link,
        },
        cache: arguments.cache.clone(),
        force: arguments.force,
    })
}

/// A folder with a manifest is a bundle, any other one a checkpoint.
fn input(arguments: &EngineArguments) -> EngineInput {
    let path = arguments.input.clone();
    let sources = Sources {
        checkpoint: path.clone(),
        llm: arguments.llm.clone(),
        clip: arguments.clip.clone(),
    };
    if arguments.shapes_only {
        return EngineInput::Shapes(sources);
    }
    let is_bundle = path.join(names::MANIFEST_FILE).is_file()
        && (Bundle::read_manifest(&path).is_ok() || !path.join("config.json").is_file());
    match is_bundle {
        true => EngineInput::Bundle(path),
        false => EngineInput::Checkpoint(sources),
    }
}

fn warn(findings: &Findings) {
    for finding in findings.sorted() {
        let engines = finding.engines.len();
        let place = match (engines, finding.engines.first()) {
            (0, _) | (_, None) => String::new(),
            (1, Some(engine)) => format!(" ({engine})"),
            (_, Some(engine)) => format!(" ({engine} and {} more)", engines - 1),
        };
        match finding.advice {
            Advice::Look => eprintln!("warning: {}{place}", presentable(&finding.text)),
            Advice::Unknown => eprintln!("TensorRT warns: {}{place}", presentable(&finding.text)),
            // Nobody needs to act on it; `--json` has it.
            Advice::Ignore => {}
        }
    }
}

/// For which devices engines are, in words.
fn devices(summary: &EngineSummary) -> String {
    let facts = &summary.manifest.tensorrt;
    let (flavour, version, devices) = (facts.flavour, &facts.version, facts.devices());
    match summary.without_device {
        true => {
            let narrower = match facts.compute_capabilities.is_empty() {
                true => " (--device builds for fewer)",
                false => "",
            };
            format!(
                "built without a GPU, by {flavour} {version}, for {devices}{narrower}; not tried on one"
            )
        }
        false => format!("built by {flavour} {version} for {devices}"),
    }
}

fn text(options: &EngineOptions, summary: &EngineSummary) -> String {
    let memory = size::peak_memory()
        .map_or_else(String::new, |bytes| format!(", peak memory {}", size::mebibytes(bytes)));
    let processor = size::processor_seconds()
        .map_or_else(String::new, |seconds| format!(" ({seconds:.1} s of processor time)"));
    let weights = match summary.manifest.weights_files {
        WeightsFiles::Link => "weights are links to the bundle's, which must stay where it is",
        WeightsFiles::Copy => "weights were copied",
        WeightsFiles::Engines => "weights are in the engines",
        WeightsFiles::Absent => "no weights: built of shapes alone",
    };
    format!(
        "wrote {}: {} engines ({} built, {} from before), {} in {:.1} s{processor}{memory}\n{}\n{weights}\n",
        options.output.display(),
        summary.built + summary.reused,
        summary.built,
        summary.reused,
        size::bytes(summary.bytes),
        summary.seconds,
        devices(summary),
    )
}

fn json(options: &EngineOptions, summary: &EngineSummary) -> anyhow::Result<String> {
    let findings: Vec<_> = summary
        .findings
        .sorted()
        .into_iter()
        .map(|finding| {
            serde_json::json!({
                "text": finding.text,
                "tensorrt": finding.original,
                "count": finding.count,
                "engines": finding.engines,
            })
        })
        .collect();
    let summary = serde_json::json!({
        "engines": options.output,
        "tensorrt": summary.manifest.tensorrt,
        "plugin": summary.manifest.plugin,
        "limits": summary.manifest.limits,
        "built": summary.built,
        "reused": summary.reused,
        "bytes": summary.bytes,
        "seconds": summary.seconds,
        "processor_seconds": size::processor_seconds(),
        "peak_memory_bytes": size::peak_memory(),
        "without_device": summary.without_device,
        "warnings": findings,
    });
    Ok(serde_json::to_string_pretty(&summary)? + "\n")
}
