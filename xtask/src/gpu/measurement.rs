//! `cumo bench` on engines, and what it reached of the bounds that `cumo plan` knows.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use cumo_results::BenchResult;
use serde::Deserialize;

use super::programs::{Device, Programs, output, slug};
use super::table::{Outcome, Row, Table};

/// Engines to be measured.
pub(super) struct Subject<'a> {
    /// What rows and the result's file call them.
    pub(super) name: &'a str,
    pub(super) engines: &'a Path,
    /// Further options of `cumo bench`.
    pub(super) options: &'a [&'a str],
}

/// Measures engines and adds rows: where the result is, and the share of its bound that each stage
/// reached. Gives the result's file, where there is one.
pub(super) fn measure(
    programs: &Programs,
    subject: &Subject<'_>,
    table: &mut Table,
) -> Option<PathBuf> {
    let name = format!("{} through cumo bench", subject.name);
    println!("== {name}");
    let measured =
        file(programs, subject).and_then(|file| Ok((bench(programs, subject, &file)?, file)));
    match measured {
        Ok((BenchOutcome::Measured, file)) => {
            let figure = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            table.push(Row::engine(&name, Outcome::Held, &figure));
            match shares(programs, subject, &file) {
                Ok(rows) => table.extend(rows),
                Err(error) => table.add(&bounds(subject), Outcome::Failed, &format!("{error:#}")),
            }
            Some(file)
        }
        Ok((BenchOutcome::Impossible(why), _)) => {
            table.push(Row::engine(&name, Outcome::Skipped, &why));
            None
        }
        Err(error) => {
            table.push(Row::engine(&name, Outcome::Failed, &format!("{error:#}")));
            None
        }
    }
}

/// Measures the sample's engines, where they were built, with an image.
pub(super) fn of_sample(
    programs: &Programs,
    engines: Result<PathBuf>,
    image: &Path,
    table: &mut Table,
) {
    const NAME: &str = "shapes";
    let image = image.display().to_string();
    match engines {
        Ok(engines) => {
            let options = ["--image", &image];
            measure(programs, &Subject { name: NAME, engines: &engines, options: &options }, table);
        }
        Err(error) => table.push(Row::engine(NAME, Outcome::Failed, &format!("{error:#}"))),
    }
}

enum BenchOutcome {
    Measured,
    Impossible(String),
}

fn bench(programs: &Programs, subject: &Subject<'_>, file: &Path) -> Result<BenchOutcome> {
    if let Some(obstacle) = programs.obstacle(subject.engines)? {
        return Ok(BenchOutcome::Impossible(obstacle));
    }
    let mut bench = programs.cumo("bench", subject.engines);
    bench.args(["--format", "md"]).arg("--output").arg(file).args(subject.options);
    bench.args(programs.effort.of_bench());
    println!("{}", output(&mut bench)?);
    // It is a result as this checkout reads it.
    let result = BenchResult::read(file)?;
    if result.answers.is_empty() || result.generation.is_empty() || result.prefill.is_empty() {
        bail!("{} lacks answers, prompts or tokens", file.display());
    }
    Ok(BenchOutcome::Measured)
}

/// The file of a result, in a folder that is there: the card's name, then the subject's.
fn file(programs: &Programs, subject: &Subject<'_>) -> Result<PathBuf> {
    let folder = &programs.results;
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let card = programs.device.as_ref().map_or("no-device", |device| device.name.as_str());
    Ok(folder.join(format!("{}_{}_tensorrt-f16.json", slug(card), slug(subject.name))))
}

/// What `cumo plan --json` prints, as far as it is shown.
#[derive(Debug, Deserialize)]
struct Plan {
    measured: Measured,
}

#[derive(Debug, Deserialize)]
struct Measured {
    stages: Vec<Stage>,
    #[serde(default)]
    notes: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Stage {
    stage: String,
    milliseconds: f64,
    share: f64,
    limit: String,
}

fn bounds(subject: &Subject<'_>) -> String {
    format!("{}: shares of the bounds", subject.name)
}

fn shares(programs: &Programs, subject: &Subject<'_>, file: &Path) -> Result<Vec<Row>> {
    let plan = |device: &[String]| {
        let mut plan = programs.cumo("plan", subject.engines);
        output(plan.arg("--result").arg(file).arg("--json").args(device))
    };
    let described = programs.device.as_ref().and_then(described);
    let text = match (described, programs.is_stand_in()) {
        (Some(described), true) => plan(&described)?,
        // The table's numbers are the data sheet's; what the driver says is for cards that it lacks.
        (Some(described), false) => plan(&[]).or_else(|_| plan(&described))?,
        (None, _) => match plan(&[]) {
            Ok(text) => text,
            Err(error) => {
                let why = format!(
                    "unknown, as the driver does not tell the card's clocks and memory: {error:#}"
                );
                return Ok(vec![Row::new(&bounds(subject), Outcome::Skipped, &why)]);
            }
        },
    };
    let plan: Plan = serde_json::from_str(&text)
        .with_context(|| format!("`cumo plan --json` printed {text}"))?;
    rows(subject.name, &plan)
}

/// A device as `cumo plan` has it described.
fn described(device: &Device) -> Option<Vec<String>> {
    let (bandwidth, rate) = device.rates?;
    let memory = device.memory_gb?;
    let options = [("--memory-gb", memory), ("--bandwidth-gbs", bandwidth), ("--f16-tflops", rate)];
    Some(options.iter().flat_map(|(name, value)| [(*name).to_owned(), value.to_string()]).collect())
}

/// A row a stage; of bounds that are not this device's, a row that says so.
fn rows(name: &str, plan: &Plan) -> Result<Vec<Row>> {
    let Measured { stages, notes } = &plan.measured;
    if stages.is_empty() {
        bail!("`cumo plan` puts no stage beside its bound");
    }
    let stage = |stage: &Stage| {
        let limit = match stage.limit.as_str() {
            "bandwidth" => "memory-bandwidth",
            "compute" => "tensor-core",
            other => other,
        };
        let percent = 100.0 * stage.share;
        let figure = format!("{:.4} ms, {percent:.1} % of the {limit} bound", stage.milliseconds);
        Row::new(&format!("{name}: {}", stage.stage), Outcome::Measured, &figure)
    };
    let note = |note: &String| Row::new(&format!("{name}: note"), Outcome::Measured, note);
    Ok(stages.iter().map(stage).chain(notes.iter().map(note)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_those_of_the_plan() {
        let json = r#"{"device": 1, "measured": {"dtype": "f16", "notes": ["in another mode"],
            "stages": [
            {"stage": "vision, 1 image", "milliseconds": 2.0, "bound_milliseconds": 1.0,
             "over_bound": 2.0, "share": 0.5, "limit": "compute"},
            {"stage": "tg 128 behind 0", "milliseconds": 10.0, "bound_milliseconds": 8.0,
             "over_bound": 1.25, "share": 0.8, "limit": "bandwidth"}]}}"#;
        let rows = rows("shapes", &serde_json::from_str(json).unwrap()).unwrap();
        let texts: Vec<_> =
            rows.iter().map(|row| (row.name.as_str(), row.figure.as_str())).collect();
        let want = [
            ("shapes: vision, 1 image", "2.0000 ms, 50.0 % of the tensor-core bound"),
            ("shapes: tg 128 behind 0", "10.0000 ms, 80.0 % of the memory-bandwidth bound"),
            ("shapes: note", "in another mode"),
        ];
        assert_eq!(texts, want);
        let none: Plan = serde_json::from_str(r#"{"measured": {"stages": []}}"#).unwrap();
        super::rows("shapes", &none).unwrap_err();
    }

    #[test]
    fn a_device_is_described_by_what_its_driver_says() {
        let device = Device {
            name: "X".to_owned(),
            architecture: 86,
            memory_gb: Some(23.5),
            rates: Some((600.0, 125.0)),
            is_integrated: false,
            is_stand_in: false,
        };
        let want = "--memory-gb 23.5 --bandwidth-gbs 600 --f16-tflops 125";
        assert_eq!(described(&device).unwrap().join(" "), want);
        assert_eq!(described(&Device { memory_gb: None, ..device }), None);
    }
}
