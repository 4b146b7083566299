//! The sample's accuracy, as `cumo eval` measures it on a fresh export.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::workspace::Workspace;
use crate::{export, onnxruntime, process};

/// The least accuracy, in per cent, of all questions and of each category.
const LEAST: (f64, f64) = (95.0, 90.0);

/// How many categories the questions have.
const CATEGORIES: usize = 6;

/// What `cumo eval --json` prints, as far as it is checked.
#[derive(Deserialize)]
struct Summary {
    accuracy: Accuracy,
}

#[derive(Deserialize)]
struct Accuracy {
    #[serde(flatten)]
    all: Share,
    categories: BTreeMap<String, Share>,
}

#[derive(Deserialize)]
struct Share {
    correct: usize,
    total: usize,
    percent: f64,
}

/// How many answers may differ from PyTorch's: 0.2 % of 1,500.
pub(crate) const MOST_DIFFERENT: usize = 3;

/// An answer, as far as it is compared.
#[derive(Deserialize)]
struct Answer {
    question_id: u64,
    text: String,
}

/// Exports the sample for each target and asks it every held-out question.
///
/// # Errors
/// A step fails, or the accuracy is lower than it must be.
pub(crate) fn check(workspace: &Workspace, programs: &Path, library: &Path) -> Result<()> {
    let sample = workspace.root.join("samples/shapes");
    let pytorch = answers(&sample.join("answers-pytorch.jsonl"))?;
    for target in ["onnx", "ort-cpu", "tensorrt"] {
        let folder = workspace.target.join("test/sample").join(target);
        let file = folder.with_extension("jsonl");
        let exporter = Command::new(programs.join("cumo-export"));
        let checkpoint = sample.join("checkpoint");
        process::run(&mut export::onnx(exporter, &checkpoint, &folder, target))?;
        if file.exists() {
            std::fs::remove_file(&file).with_context(|| file.display().to_string())?;
        }
        let mut eval = Command::new(programs.join("cumo"));
        eval.env(onnxruntime::DYLIB_PATH, library).arg("eval").arg("--model").arg(&folder);
        eval.arg("--question-file").arg(sample.join("questions.jsonl"));
        eval.arg("--image-folder").arg(sample.join("images"));
        let output = process::read(eval.arg("--answers-file").arg(&file).arg("--json"))?;
        let summary: Summary = serde_json::from_str(&output)
            .with_context(|| format!("`cumo eval --json` printed {output}"))?;
        compare(target, &summary.accuracy)?;
        compare_answers(target, &answers(&file)?, &pytorch)?;
    }
    Ok(())
}

/// The texts of a file of answers, by question.
///
/// # Errors
/// The file cannot be read, or a line is no answer.
pub(crate) fn answers(file: &Path) -> Result<BTreeMap<u64, String>> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let answer = |line: &str| {
        let Answer { question_id, text } =
            serde_json::from_str(line).with_context(|| format!("{}: {line}", file.display()))?;
        Ok((question_id, text))
    };
    text.lines().map(answer).collect()
}

/// Compares with what PyTorch answers (`samples/shapes/train/evaluate.py --answers`).
fn compare_answers(
    target: &str,
    ours: &BTreeMap<u64, String>,
    pytorch: &BTreeMap<u64, String>,
) -> Result<()> {
    let same = pytorch.iter().filter(|(question, text)| ours.get(question) == Some(text)).count();
    println!("sample {target}: {same} of {} answers are PyTorch's", pytorch.len());
    if pytorch.is_empty() || ours.len() != pytorch.len() || pytorch.len() - same > MOST_DIFFERENT {
        bail!("more than {MOST_DIFFERENT} answers for {target} are not PyTorch's");
    }
    Ok(())
}

fn compare(target: &str, accuracy: &Accuracy) -> Result<()> {
    if accuracy.categories.len() != CATEGORIES {
        bail!("{} categories, the sample has {CATEGORIES}", accuracy.categories.len());
    }
    let rows = std::iter::once(("all", &accuracy.all, LEAST.0))
        .chain(accuracy.categories.iter().map(|(name, share)| (name.as_str(), share, LEAST.1)));
    for (name, share, least) in rows {
        println!(
            "sample {target} {name:9} {:6.2} % ({} of {}), at least {least} %",
            share.percent, share.correct, share.total
        );
        // Written so that NaN fails.
        if share.percent >= least {
            continue;
        }
        bail!("the sample answers {:.2} % of `{name}`, less than {least} %", share.percent);
    }
    Ok(())
}
