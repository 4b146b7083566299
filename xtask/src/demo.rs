//! `cargo xtask demo`: the sample, from its checkpoint to answers about images.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::workspace::Workspace;
use crate::{bench, export, onnxruntime, process};

const QUESTIONS: usize = 3;

/// A line of `questions.jsonl`.
#[derive(Deserialize)]
pub(crate) struct Question {
    pub(crate) image: String,
    pub(crate) text: String,
    answer: String,
    category: String,
}

/// What `cumo run --json` prints, as far as it is shown.
#[derive(Deserialize)]
struct Answer {
    text: String,
    tokens: Vec<u32>,
    milliseconds: Milliseconds,
}

/// The time of each stage.
#[derive(Clone, Copy, Deserialize)]
struct Milliseconds {
    load: f64,
    image: f64,
    vision: f64,
    connector: f64,
    prefill: f64,
    decode: f64,
}

/// Exports the sample and asks three questions about three images.
///
/// # Errors
/// A step fails, or no answer is the expected one.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let sample = workspace.root.join("samples/shapes");
    let questions = choose(&sample, QUESTIONS)?;
    let library = onnxruntime::ensure(workspace)?;
    bench::build_release(workspace)?;
    let programs = workspace.target.join("release");
    let bundle = workspace.target.join("demo/shapes");
    let exporter = Command::new(programs.join("cumo-export"));
    let checkpoint = sample.join("checkpoint");
    process::run(&mut export::onnx(exporter, &checkpoint, &bundle, "ort-cpu"))?;
    let mut rows = Vec::new();
    let mut right = 0;
    for question in &questions {
        let image = sample.join("images").join(&question.image);
        let mut cumo = Command::new(programs.join("cumo"));
        cumo.env(onnxruntime::DYLIB_PATH, &library).env("CUMO_CACHE_DIR", "");
        cumo.arg("run").arg("--model").arg(&bundle).arg("--image").arg(image);
        cumo.args(["--prompt", &question.text, "--temperature", "0", "--json"]);
        let output = process::read(&mut cumo)?;
        let answer: Answer = serde_json::from_str(&output)
            .with_context(|| format!("`cumo run --json` printed {output}"))?;
        right += usize::from(answer.text.trim() == question.answer);
        rows.push(row(question, &answer));
    }
    print_table(&rows);
    println!("\n{right} of {QUESTIONS} as expected; ask more:");
    println!("  {}", example(workspace, &programs, &bundle));
    if right == 0 {
        bail!("no answer is the expected one");
    }
    Ok(())
}

/// The first questions that differ from each other in image and category.
///
/// # Errors
/// The file cannot be read, or has not so many of them.
pub(crate) fn choose(sample: &Path, count: usize) -> Result<Vec<Question>> {
    let path = sample.join("questions.jsonl");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let (mut images, mut categories) = (BTreeSet::new(), BTreeSet::new());
    let mut chosen = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let question: Question =
            serde_json::from_str(line).with_context(|| format!("{}:{number}", path.display()))?;
        let seen = images.contains(&question.image) || categories.contains(&question.category);
        if !seen && chosen.len() < count {
            images.insert(question.image.clone());
            categories.insert(question.category.clone());
            chosen.push(question);
        }
    }
    if chosen.len() < count {
        bail!("{} has no {count} questions that differ in image and category", path.display());
    }
    Ok(chosen)
}

const HEADER: [&str; 11] = [
    "image",
    "question",
    "answer",
    "expected",
    "tokens",
    "load",
    "preprocess",
    "vision",
    "connector",
    "prefill",
    "decode",
];

type Row = [String; HEADER.len()];

fn row(question: &Question, answer: &Answer) -> Row {
    let Milliseconds { load, image, vision, connector, prefill, decode } = answer.milliseconds;
    let [load, image, vision, connector, prefill, decode] =
        [load, image, vision, connector, prefill, decode].map(|stage| format!("{stage:.1} ms"));
    [
        question.image.clone(),
        question.text.clone(),
        answer.text.trim().to_owned(),
        question.answer.clone(),
        answer.tokens.len().to_string(),
        load,
        image,
        vision,
        connector,
        prefill,
        decode,
    ]
}

fn print_table(rows: &[Row]) {
    let header = HEADER.map(str::to_owned);
    let width = |column: usize| {
        let cells = std::iter::once(&header).chain(rows).map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: [usize; HEADER.len()] = std::array::from_fn(width);
    println!();
    for row in std::iter::once(&header).chain(rows) {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

/// A command to go on with, as typed from the root; `cumo` finds the library as the demo did.
fn example(workspace: &Workspace, programs: &Path, bundle: &Path) -> String {
    format!(
        "{} chat --model {} --image samples/shapes/images/000.png",
        workspace.show(&programs.join("cumo")),
        workspace.show(bundle),
    )
}
