//! The sample's questions through `cumo eval` on engines: the answers are PyTorch's.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::golden_tokens::SMALL;
use super::programs::{Programs, output};
use super::table::{Outcome, Row, Table};
use crate::sample::{MOST_DIFFERENT, answers};
use crate::workspace::Workspace;

/// How many answers that differ are looked into.
const EXPLAINED: usize = 5;

/// A line of `questions.jsonl`, as far as it is asked again.
#[derive(Debug, Deserialize)]
struct Question {
    question_id: u64,
    image: String,
    text: String,
}

/// Exports the sample, builds its engines, and asks its questions. Gives the engines' folder, where
/// it was built.
pub(super) fn check(
    workspace: &Workspace,
    programs: &Programs,
    table: &mut Table,
) -> Option<PathBuf> {
    const NAME: &str = "sample through cumo";
    println!("== {NAME}");
    let engines = match build(workspace, programs) {
        Ok(engines) => engines,
        Err(error) => {
            table.push(Row::engine(NAME, Outcome::Failed, &format!("{error:#}")));
            return None;
        }
    };
    let (outcome, figure) = match ask(workspace, programs, &engines) {
        Ok(result) => result,
        Err(error) => (Outcome::Failed, format!("{error:#}")),
    };
    table.push(Row::engine(NAME, outcome, &figure));
    Some(engines)
}

/// Exports the sample and builds its engines.
///
/// # Errors
/// Either fails.
pub(super) fn build(workspace: &Workspace, programs: &Programs) -> Result<PathBuf> {
    let checkpoint = workspace.root.join("samples/shapes/checkpoint");
    let bundle = programs.bundle(&checkpoint, "shapes", "plugin")?;
    programs.engines(&bundle, "shapes", &SMALL)
}

fn ask(workspace: &Workspace, programs: &Programs, engines: &Path) -> Result<(Outcome, String)> {
    if let Some(obstacle) = programs.obstacle(engines)? {
        let outcome = Outcome::of_obstacle(programs.device.is_some());
        return Ok((outcome, format!("{obstacle}; exported, engines built")));
    }
    let sample = workspace.root.join("samples/shapes");
    let questions = sample.join("questions.jsonl");
    let text = fs::read_to_string(&questions).with_context(|| questions.display().to_string())?;
    let lines: Vec<&str> =
        text.lines().take(programs.effort.questions().unwrap_or(usize::MAX)).collect();
    let asked = programs.work.join("questions.jsonl");
    fs::write(&asked, lines.join("\n")).with_context(|| asked.display().to_string())?;
    let file = programs.work.join("answers.jsonl");
    if file.exists() {
        fs::remove_file(&file).with_context(|| file.display().to_string())?;
    }
    let mut eval = programs.cumo("eval", engines);
    eval.arg("--question-file").arg(&asked).arg("--image-folder").arg(sample.join("images"));
    output(eval.arg("--answers-file").arg(&file).arg("--json"))?;

    let questions = parse(&lines)?;
    let pytorch = answers(&sample.join("answers-pytorch.jsonl"))?;
    let different = different(&questions, &answers(&file)?, &pytorch)?;
    let (outcome, mut figure) = verdict(questions.len(), &different);
    for (question, text) in different.iter().take(EXPLAINED) {
        let gap = gap(programs, engines, &sample, question)?;
        figure.push_str(&format!("; {text}, two best tokens at least {gap:.4} apart"));
    }
    Ok((outcome, figure))
}

fn parse(lines: &[&str]) -> Result<Vec<Question>> {
    let question = |line: &&str| serde_json::from_str(line).with_context(|| format!("`{line}`"));
    lines.iter().map(question).collect()
}

/// The questions whose answers are not PyTorch's, with both answers.
fn different<'a>(
    questions: &'a [Question],
    ours: &BTreeMap<u64, String>,
    pytorch: &BTreeMap<u64, String>,
) -> Result<Vec<(&'a Question, String)>> {
    if ours.len() != questions.len() {
        bail!("{} answers to {} questions", ours.len(), questions.len());
    }
    let mut different = Vec::new();
    for question in questions {
        let id = question.question_id;
        let theirs = pytorch.get(&id).with_context(|| format!("PyTorch was not asked {id}"))?;
        let ours = ours.get(&id).with_context(|| format!("question {id} has no answer"))?;
        if ours != theirs {
            different.push((question, format!("question {id}: `{ours}`, PyTorch `{theirs}`")));
        }
    }
    Ok(different)
}

/// At most [`MOST_DIFFERENT`] answers may differ.
fn verdict(asked: usize, different: &[(&Question, String)]) -> (Outcome, String) {
    let same = asked - different.len();
    let figure = format!("{same} of {asked} answers are PyTorch's");
    match (asked, different.len() > MOST_DIFFERENT) {
        (0, _) => (Outcome::Failed, "no question was asked".to_owned()),
        (_, true) => (Outcome::Failed, format!("{figure}, at most {MOST_DIFFERENT} may differ")),
        (_, false) => (Outcome::Held, figure),
    }
}

/// How near a question's answer was to another one: the least distance, over its tokens, between
/// the log-probabilities of the two best.
fn gap(programs: &Programs, engines: &Path, sample: &Path, question: &Question) -> Result<f32> {
    let mut run = programs.cumo("run", engines);
    run.arg("--image").arg(sample.join("images").join(&question.image));
    run.args(["--prompt", &question.text, "--temperature", "0", "--json", "--logprobs", "2"]);
    least_gap(&output(&mut run)?)
}

fn least_gap(text: &str) -> Result<f32> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(default)]
        logprobs: Vec<Choice>,
    }
    #[derive(Deserialize)]
    struct Choice {
        top: Vec<LogProb>,
    }
    #[derive(Deserialize)]
    struct LogProb {
        logprob: f32,
    }
    let answer: Answer =
        serde_json::from_str(text).with_context(|| format!("`cumo run --json` printed {text}"))?;
    let gaps = answer.logprobs.iter().filter_map(|choice| match choice.top.as_slice() {
        [best, second, ..] => Some(best.logprob - second.logprob),
        _ => None,
    });
    gaps.min_by(f32::total_cmp).context("`cumo run --logprobs` gave no probabilities")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn questions(count: u64) -> Vec<Question> {
        let question =
            |question_id| Question { question_id, image: "0.png".into(), text: "?".into() };
        (0..count).map(question).collect()
    }

    fn said(text: &str, count: u64) -> BTreeMap<u64, String> {
        (0..count).map(|id| (id, text.to_owned())).collect()
    }

    #[test]
    fn three_answers_may_differ_and_no_more() {
        let questions = questions(10);
        let pytorch = said("1", 10);
        let result = |wrong: u64| {
            let mut ours = pytorch.clone();
            ours.extend(said("2", wrong));
            verdict(10, &different(&questions, &ours, &pytorch).unwrap())
        };
        assert_eq!(result(0), (Outcome::Held, "10 of 10 answers are PyTorch's".to_owned()));
        assert_eq!(result(3), (Outcome::Held, "7 of 10 answers are PyTorch's".to_owned()));
        assert_eq!(result(4).0, Outcome::Failed);
        assert_eq!(verdict(0, &[]).0, Outcome::Failed);
    }

    #[test]
    fn a_missing_answer_is_an_error() {
        let questions = questions(2);
        let error = different(&questions, &said("1", 1), &said("1", 2)).unwrap_err();
        assert_eq!(error.to_string(), "1 answers to 2 questions");
        let other = BTreeMap::from([(0, "1".to_owned()), (7, "1".to_owned())]);
        let error = different(&questions, &other, &said("1", 2)).unwrap_err();
        assert_eq!(error.to_string(), "question 1 has no answer");
        let error = different(&questions, &said("1", 2), &said("1", 1)).unwrap_err();
        assert_eq!(error.to_string(), "PyTorch was not asked 1");
    }

    #[test]
    fn the_least_gap_is_that_of_the_nearest_token() {
        let text = r#"{"logprobs": [
            {"top": [{"logprob": -0.25}, {"logprob": -2.0}]},
            {"top": [{"logprob": -0.5}, {"logprob": -0.75}]},
            {"top": [{"logprob": 0.0}]}]}"#;
        assert_eq!(least_gap(text).unwrap(), 0.25);
        least_gap("{}").unwrap_err();
        least_gap("error").unwrap_err();
    }
}
