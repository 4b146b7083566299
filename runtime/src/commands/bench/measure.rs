//! `cumo bench --model ...`: measures a model.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use cumo_processor::ImageLimits;
use cumo_results::schema::{Conditions, Energy, MAX_ROWS, MAX_SAMPLES};
use cumo_results::{BenchResult, check_writable, render};
use cumo_runtime::backend::BackendError;
use cumo_runtime::bench::{self, Bench, BenchOptions, ENERGY_SPAN, Rest, SyntheticImage};
use cumo_runtime::machine::Machine;
use cumo_runtime::power::{PowerError, PowerSensor};
use cumo_runtime::{Error, Model};

use super::super::console;
use super::super::images;
use super::super::interrupt::{EXIT_CODE, Interrupt};
use super::cold;
use super::progress::Bars;
use crate::cli::{MeasureArgs, ResultFormat, WorkArgs};

pub(super) fn run(args: &MeasureArgs) -> Result<ExitCode> {
    let samples = samples(args);
    check(args, samples)?;
    if let Some(file) = &args.output {
        // Before minutes of work.
        check_writable(file, bytes(samples))?;
    }
    let interrupt = Interrupt::listen()?;
    match measure(args, &interrupt) {
        Ok(result) => {
            // First, as whoever reads the output may have seen enough.
            if let Some(file) = &args.output {
                result.write(file)?;
                console::note(&format!("written to {}", file.display()));
            }
            print(&result, args.format)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) if is_interrupted(&error) => {
            console::note("stopped: nothing was written");
            Ok(ExitCode::from(EXIT_CODE))
        }
        Err(error) => Err(error),
    }
}

/// Samples that are measured at most: a time a token, a prompt and a start.
fn samples(args: &MeasureArgs) -> usize {
    let tokens = args.work.generate_tokens.saturating_add(1);
    let rows = args.depth.len().saturating_add(1);
    let repetitions = args.repetitions.get().saturating_mul(tokens).saturating_mul(rows);
    repetitions.saturating_add(args.cold_starts)
}

/// About how many bytes a file of so many samples has: 12 digits and two separators each, and what
/// is there without any.
fn bytes(samples: usize) -> u64 {
    (samples as u64).saturating_mul(14).saturating_add(1 << 16).min(cumo_results::MAX_BYTES)
}

/// What a file of results has no room for.
fn check(args: &MeasureArgs, samples: usize) -> Result<()> {
    let rows = [("--depth", args.depth.len()), ("--image", args.work.image.len())];
    for (option, count) in rows {
        ensure!(count <= MAX_ROWS, "{option} is given {count} times, and may be {MAX_ROWS} times");
    }
    ensure!(
        samples <= MAX_SAMPLES,
        "{samples} times would be measured (--repetitions times --gen and the prompt, for the question and each --depth), and a result holds at most {MAX_SAMPLES}: ask for less of one of them"
    );
    Ok(())
}

/// Whether work ended since it was cancelled.
pub(super) fn is_interrupted(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Error::Backend(BackendError::Interrupted)))
}

fn measure(args: &MeasureArgs, interrupt: &Interrupt) -> Result<BenchResult> {
    let mut result = BenchResult::default();
    let mut bars = Bars::new();
    let machine = Machine::this();
    let images = Images::new(&args.work)?;
    for image in &images.paths {
        let facts = bench::image_facts(image, &ImageLimits::default())?;
        result.configuration.images.push(facts);
    }
    images.note(&mut result);
    let load_average = note_machine(&machine, &mut result);
    let working = interrupt.answering();
    cold::starts(args, &images.paths, interrupt.token(), &mut bars, &mut result)?;
    drop(working);

    let mut model = Model::open(&args.work.model.model, &args.work.model.options())?;
    if !images.paths.is_empty() {
        model.load_vision()?;
    }
    let working = interrupt.answering();
    let executor = model.executor();
    result.model = bench::model_facts(&args.work.model.model, executor.manifest())?;
    let backend = executor.backend();
    result.environment = bench::environment(&machine, &backend);
    let (before, throttling) = bench::conditions(&machine, &backend, None);
    // The load of before this program's own work.
    result.environment.before = Conditions { load_average, ..before };

    let options = BenchOptions {
        repetitions: args.repetitions.get(),
        warmup: args.warmup,
        depths: args.depth.clone(),
        ..args.work.options(images.paths.clone())
    };
    let mut measuring = Bench::new(&mut model, &options, interrupt.token(), &mut bars);
    let power = Power::at_rest(&mut measuring)?;
    let (measured, during) = bench::watched(&machine, &backend, || measuring.run(&mut result));
    measured?;
    result.environment.during = during;
    result.environment.after = bench::conditions(&machine, &backend, Some(&throttling)).0;
    power.measure(&mut measuring, &mut result)?;
    let question = measuring.question();
    experts(args, &mut model, &images.paths, &question, interrupt, &mut result)?;
    bars.finish();
    drop(working);
    Ok(result)
}

/// The images of the question.
struct Images {
    paths: Vec<PathBuf>,
    /// Goes with this value.
    _synthetic: Option<SyntheticImage>,
}

impl Images {
    fn new(args: &WorkArgs) -> Result<Self> {
        images::only_files(&args.image, "images are read once a repetition")?;
        if args.no_image || !args.image.is_empty() {
            return Ok(Images { paths: args.image.clone(), _synthetic: None });
        }
        let image = SyntheticImage::new().context("making an image to ask about")?;
        Ok(Images { paths: vec![image.path().to_owned()], _synthetic: Some(image) })
    }

    fn note(&self, result: &mut BenchResult) {
        if self._synthetic.is_some() {
            result.configuration.images.iter_mut().for_each(|image| {
                SyntheticImage::NAME.clone_into(&mut image.name);
            });
            result.notes.push(
                "no image was given: a synthetic one was made, an uncompressed BMP, whose decoding says nothing about JPEG's"
                    .to_owned(),
            );
        }
    }
}

/// Notes, and tells at once, what about the machine makes numbers of little use; gives its load.
fn note_machine(machine: &Machine, result: &mut BenchResult) -> Option<f64> {
    let told = result.notes.len();
    let cores = machine.processor().physical_cores as f64;
    let load = machine.system().load_average;
    if let Some(load) = load.filter(|load| *load > 0.5 * cores) {
        result.notes.push(format!(
            "the machine had other things to do when it began: load average {load:.2} on {cores} cores"
        ));
    }
    let governors = machine.cpu_clocks().into_iter().filter_map(|clock| clock.governor);
    if let Some(governor) = governors.into_iter().find(|governor| governor != "performance") {
        result.notes.push(format!("the processor's clocks may change: its governor is {governor}"));
    }
    if cfg!(debug_assertions) {
        result.notes.push("measured with a debug build, which is slow".to_owned());
    }
    for note in result.notes.iter().skip(told) {
        console::note(&format!("note: {note}"));
    }
    load
}

/// A power sensor, and what it told before the model's first work.
struct Power(Result<(PowerSensor, Rest), PowerError>);

impl Power {
    fn at_rest(bench: &mut Bench<'_>) -> Result<Self> {
        let device = bench.model().executor().backend().device;
        Ok(Power(match PowerSensor::find(device.as_ref()) {
            Ok(mut sensor) => {
                let rest = bench.rest(&mut sensor, ENERGY_SPAN)?;
                rest.map(|rest| (sensor, rest))
            }
            Err(error) => Err(error),
        }))
    }

    /// Energy of work, beside that of the machine at rest before and after.
    fn measure(self, bench: &mut Bench<'_>, result: &mut BenchResult) -> Result<()> {
        let measured = match self.0 {
            Ok((mut sensor, before)) => {
                bench.energy(&mut sensor, ENERGY_SPAN)?.map(|measured| (before, measured))
            }
            Err(error) => Err(error),
        };
        match measured {
            Ok((before, (energy, after))) => {
                result.energy = Some(Energy { idle: Some(before.span), ..energy });
                for (rest, when) in [(before, "before the work"), (after, "after the work")] {
                    if !rest.is_settled {
                        result.notes.push(format!(
                            "the machine's power still fell when its rest {when} was measured: energy above idle is more than told"
                        ));
                    }
                }
            }
            Err(error) => result.notes.push(format!("energy was not measured: {error}")),
        }
        Ok(())
    }
}

/// Why there is no load of experts.
const NO_CHOICES: &str = "choices of experts were not counted, as the graphs do not give them: export the model anew, without --no-choices, or name such a bundle of it with --routers";

fn experts(
    args: &MeasureArgs,
    model: &mut Model,
    images: &[PathBuf],
    question: &[i64],
    interrupt: &Interrupt,
    result: &mut BenchResult,
) -> Result<()> {
    let facts = model.facts();
    let moe = [facts.vision.moe, facts.vision.connector_moe, facts.llm.moe];
    if moe.iter().all(Option::is_none) {
        return Ok(());
    }
    let mut other = match &args.routers {
        None => None,
        Some(path) => {
            let other = Model::open(path, &args.work.model.options())?;
            ensure!(
                (other.facts().vision.clone(), other.facts().llm.clone())
                    == (facts.vision.clone(), facts.llm.clone()),
                "{}: not the model of {}: their sizes differ",
                path.display(),
                args.work.model.model.display()
            );
            Some(other)
        }
    };
    let model = other.as_mut().unwrap_or(model);
    result.expert_load = bench::expert_load(model, images, question, interrupt.token())?;
    if result.expert_load.is_empty() {
        result.notes.push(NO_CHOICES.to_owned());
    }
    Ok(())
}

fn print(result: &BenchResult, format: ResultFormat) -> Result<()> {
    let text = match format {
        ResultFormat::Table => render::to_text(result),
        ResultFormat::Json => result.to_json(),
        ResultFormat::Md => render::to_markdown(result),
        ResultFormat::Csv => render::to_csv(result),
    };
    console::print_line(text.trim_end())
}
