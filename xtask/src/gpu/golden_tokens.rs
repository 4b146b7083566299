//! The goldens through `cumo run`: the original's tokens, from engines on the device.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::programs::{Programs, output};
use super::router_margin::{Nearest, nearest, tie};
use super::table::{Outcome, Row, Table};
use crate::workspace::Workspace;

/// Engines for prompts of a few dozen positions.
pub(super) const SMALL: [&str; 4] = ["--max-prompt", "256", "--max-context", "512"];

/// A prompt, and what the original says behind it.
#[derive(Debug, Deserialize)]
struct Prompt {
    /// Ids, with -200 for an image.
    input_ids: Vec<i64>,
    images: Vec<String>,
    greedy_tokens: Vec<u32>,
}

/// What `cumo run --json` prints, as far as it is compared.
#[derive(Debug, Default, Deserialize)]
struct Answer {
    tokens: Vec<u32>,
    #[serde(default)]
    logprobs: Vec<Choice>,
}

/// A token with others that it might have been.
#[derive(Debug, Default, Deserialize)]
struct Choice {
    top: Vec<LogProb>,
}

#[derive(Debug, Default, Deserialize)]
struct LogProb {
    token: u32,
    logprob: f32,
}

/// Exports goldens, builds their engines and asks each prompt; a row each.
pub(super) fn check(
    workspace: &Workspace,
    programs: &Programs,
    goldens: &[PathBuf],
    table: &mut Table,
) {
    let only = programs.effort.only_golden();
    for golden in goldens {
        let name = golden.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if only.is_some_and(|only| only != name) {
            continue;
        }
        println!("== {name} through cumo");
        if let Some(obstacle) = programs.known_obstacle() {
            let name = format!("{name} through cumo");
            table.push(Row::engine(&name, Outcome::Skipped, &obstacle));
            continue;
        }
        match rows(workspace, programs, golden, &name) {
            Ok(rows) => table.extend(rows),
            Err(error) => {
                let name = format!("{name} through cumo");
                table.push(Row::engine(&name, Outcome::Failed, &format!("{error:#}")));
            }
        }
    }
}

fn rows(workspace: &Workspace, programs: &Programs, golden: &Path, name: &str) -> Result<Vec<Row>> {
    let prompts = prompts(golden)?;
    let bundle = programs.bundle(&golden.join("checkpoint"), name, "plugin")?;
    let engines = programs.engines(&bundle, name, &SMALL)?;
    if let Some(obstacle) = programs.obstacle(&engines)? {
        let outcome = Outcome::of_obstacle(programs.device.is_some());
        let name = format!("{name} through cumo");
        let figure = format!("{obstacle}; exported, engines built");
        return Ok(vec![Row::engine(&name, outcome, &figure)]);
    }
    let tie = tie(&workspace.root)?;
    let row = |(prompt, facts): (&String, &Prompt)| {
        let name = format!("{name} {prompt} through cumo");
        match ask(programs, &engines, golden, facts, tie) {
            Ok((outcome, figure)) => Row::engine(&name, outcome, &figure),
            Err(error) => Row::engine(&name, Outcome::Failed, &format!("{error:#}")),
        }
    };
    Ok(prompts.iter().map(row).collect())
}

/// The prompts of a golden: entries of its file that have ids.
fn prompts(golden: &Path) -> Result<BTreeMap<String, Prompt>> {
    #[derive(Deserialize)]
    struct Facts {
        prompts: BTreeMap<String, serde_json::Value>,
    }
    let path = golden.join("goldens.json");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let facts: Facts = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    let prompts = facts.prompts.into_iter();
    let with_ids = prompts.filter(|(_, prompt)| prompt.get("input_ids").is_some());
    let prompt = |(name, prompt)| Ok((name, serde_json::from_value(prompt)?));
    with_ids.map(prompt).collect::<Result<_>>().with_context(|| path.display().to_string())
}

fn ask(
    programs: &Programs,
    engines: &Path,
    golden: &Path,
    prompt: &Prompt,
    tie: f32,
) -> Result<(Outcome, String)> {
    let answer = run(programs, engines, golden, prompt, None)?;
    let Some(at) = first_difference(&answer.tokens, &prompt.greedy_tokens) else {
        return Ok((Outcome::Held, format!("{} tokens", answer.tokens.len())));
    };
    // Log-probabilities have the whole row of logits read, which was not so when it went wrong.
    let explained = run(programs, engines, golden, prompt, Some(20))?;
    let difference = difference(at, &answer.tokens, &prompt.greedy_tokens, &explained);
    let (outcome, why) = match nearest(golden, &prompt.images)? {
        Some(nearest) => {
            let second = is_second_best(at, &answer.tokens, &prompt.greedy_tokens, &explained);
            excuse(&nearest, tie, second)
        }
        None if prompt.images.is_empty() => (Outcome::Failed, "nothing is routed in it".to_owned()),
        None => (Outcome::Failed, "the golden has no router of its images".to_owned()),
    };
    Ok((outcome, format!("{difference}; {why}")))
}

fn run(
    programs: &Programs,
    engines: &Path,
    golden: &Path,
    prompt: &Prompt,
    logprobs: Option<usize>,
) -> Result<Answer> {
    let ids: Vec<String> = prompt.input_ids.iter().map(i64::to_string).collect();
    let mut cumo = programs.cumo("run", engines);
    for image in &prompt.images {
        cumo.arg("--image").arg(golden.join("images").join(format!("{image}.png")));
    }
    cumo.args(["--prompt-ids", &ids.join(",")]);
    cumo.args(["--temperature", "0", "--ignore-eos", "--json"]);
    cumo.args(["--max-new-tokens", &prompt.greedy_tokens.len().to_string()]);
    cumo.args(logprobs.iter().flat_map(|count| ["--logprobs".to_owned(), count.to_string()]));
    let text = output(&mut cumo)?;
    serde_json::from_str(&text).with_context(|| format!("`cumo run --json` printed {text}"))
}

/// Where two answers part: the place of the first token that one has and the other has not.
fn first_difference(ours: &[u32], theirs: &[u32]) -> Option<usize> {
    let common = ours.iter().zip(theirs).take_while(|(ours, theirs)| ours == theirs).count();
    (common < ours.len().max(theirs.len())).then_some(common)
}

/// The tokens at which answers part, and how probable each was.
fn difference(at: usize, ours: &[u32], theirs: &[u32], explained: &Answer) -> String {
    let choice = explained.logprobs.get(at);
    // The second answer may have gone another way.
    let same = explained.tokens.get(..at) == ours.get(..at);
    let named = |token: Option<&u32>| {
        let Some(token) = token else { return "nothing".to_owned() };
        let found = choice.filter(|_| same);
        let found = found.and_then(|choice| choice.top.iter().find(|it| it.token == *token));
        match found {
            Some(found) => format!("{token} (log-probability {:.4})", found.logprob),
            None => token.to_string(),
        }
    };
    format!(
        "{at} tokens as the original's, then {}, the original {}",
        named(ours.get(at)),
        named(theirs.get(at))
    )
}

/// Whether the original's token is the device's second choice, right behind its own.
fn is_second_best(at: usize, ours: &[u32], theirs: &[u32], explained: &Answer) -> bool {
    let same = explained.tokens.get(..=at) == ours.get(..=at);
    let second = explained.logprobs.get(at).and_then(|choice| choice.top.get(1));
    same && second.is_some_and(|second| theirs.get(at) == Some(&second.token))
}

/// Whether another answer may be: where the original's own choice of experts was as good as a tie,
/// and the answer is the next one to the original's. It may still be wrong for another reason, so
/// the table says by how much.
fn excuse(nearest: &Nearest, tie: f32, is_second_best: bool) -> (Outcome, String) {
    let Nearest { router, row, margin } = nearest;
    let place =
        format!("the original's nearest experts are {margin:.1e} apart ({router}, row {row})");
    match (*margin < tie, is_second_best) {
        (true, true) => {
            let why = format!("experts are as good as equal, less than {tie:.0e}: {place}");
            (Outcome::Tie, why)
        }
        (true, false) => {
            let why =
                "experts are as good as equal, and the original's token is not the second best";
            (Outcome::Failed, format!("{why}: {place}"))
        }
        (false, _) => (Outcome::Failed, format!("no tie: {place}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_part_at_the_first_token_that_differs_or_is_missing() {
        assert_eq!(first_difference(&[1, 2], &[1, 2]), None);
        assert_eq!(first_difference(&[1, 3], &[1, 2]), Some(1));
        assert_eq!(first_difference(&[1], &[1, 2]), Some(1));
        assert_eq!(first_difference(&[], &[1]), Some(0));
    }

    #[test]
    fn a_difference_is_told_with_both_probabilities() {
        let json = r#"{"tokens": [5, 7], "logprobs": [
            {"token": 5, "logprob": -0.1, "top": []},
            {"token": 7, "logprob": -0.5,
             "top": [{"token": 7, "logprob": -0.5}, {"token": 8, "logprob": -0.75}]}]}"#;
        let explained: Answer = serde_json::from_str(json).unwrap();
        let text = difference(1, &[5, 7], &[5, 8], &explained);
        let want = "1 tokens as the original's, then 7 (log-probability -0.5000), the original 8 \
                    (log-probability -0.7500)";
        assert_eq!(text, want);
        let other = difference(1, &[4, 7], &[4], &explained);
        assert_eq!(other, "1 tokens as the original's, then 7, the original nothing");
    }

    #[test]
    fn only_a_tie_of_experts_excuses_the_next_best_token() {
        let near = |margin| Nearest { router: "router.x".to_owned(), row: 3, margin };
        let (outcome, why) = excuse(&near(4e-5), 1e-3, true);
        assert_eq!(outcome, Outcome::Tie);
        let want = "experts are as good as equal, less than 1e-3: the original's nearest experts \
                    are 4.0e-5 apart (router.x, row 3)";
        assert_eq!(why, want);
        assert_eq!(excuse(&near(4e-5), 1e-3, false).0, Outcome::Failed);
        let (outcome, why) = excuse(&near(0.25), 1e-3, true);
        assert_eq!(outcome, Outcome::Failed);
        assert!(why.starts_with("no tie"), "{why}");
    }

    #[test]
    fn the_second_best_is_looked_for_behind_the_same_tokens() {
        let json = r#"{"tokens": [5, 7], "logprobs": [{"top": []},
            {"top": [{"token": 7, "logprob": -0.5}, {"token": 8, "logprob": -0.75}]}]}"#;
        let explained: Answer = serde_json::from_str(json).unwrap();
        assert!(is_second_best(1, &[5, 7], &[5, 8], &explained));
        assert!(!is_second_best(1, &[5, 7], &[5, 9], &explained));
        assert!(!is_second_best(1, &[4, 7], &[4, 8], &explained));
        assert!(!is_second_best(0, &[5, 7], &[6, 8], &explained));
        assert!(!is_second_best(2, &[5, 7], &[5, 7, 8], &explained));
    }

    #[test]
    fn every_golden_has_prompts() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let prompts = prompts(&root.join("tests/goldens/mistral-moe")).unwrap();
        assert_eq!(prompts.len(), 4);
        assert!(prompts["two_images"].images.len() == 2);
    }
}
