//! `cumo eval` with the sample: runs that are ended and go on, and chunks.
#![cfg(unix)]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Bundle, sample, text};

const QUESTIONS: usize = 40;

/// The first questions of the sample, answered into a file beside the bundle.
fn eval(bundle: &Bundle, answers: &Path) -> Command {
    let questions = bundle.beside("questions.jsonl");
    let all = fs::read_to_string(sample().join("questions.jsonl")).unwrap();
    let first: String = all.split_inclusive('\n').take(QUESTIONS).collect();
    fs::write(&questions, first).unwrap();
    let mut eval = bundle.cumo("eval");
    eval.arg("--json").arg("--question-file").arg(questions);
    eval.arg("--image-folder").arg(sample().join("images")).arg("--answers-file").arg(answers);
    eval
}

/// Runs to the end; gives the report.
fn finish(mut eval: Command) -> Value {
    let output = eval.output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Question ids and texts of the answers in a file.
fn answers(path: &Path) -> Vec<(Value, Value)> {
    let text = fs::read_to_string(path).unwrap();
    let answer = |line: &str| {
        let mut answer: Value = serde_json::from_str(line).unwrap();
        (answer["question_id"].take(), answer["text"].take())
    };
    text.lines().map(answer).collect()
}

/// Waits until a file has this many lines.
fn wait_for_lines(path: &Path, lines: usize) {
    let start = Instant::now();
    while fs::read_to_string(path).unwrap_or_default().lines().count() < lines {
        assert!(start.elapsed() < Duration::from_secs(60), "{lines} answers take too long");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_run_that_is_ended_twice_gives_the_answers_of_one_in_one_go() {
    let bundle = Bundle::new();
    let whole = bundle.beside("whole.jsonl");
    let report = finish(eval(&bundle, &whole));
    assert_eq!((&report["questions"], &report["answered_before"]), (&40.into(), &0.into()));
    assert_eq!(answers(&whole).len(), QUESTIONS);

    let path = bundle.beside("ended.jsonl");
    let child = eval(&bundle, &path).spawn().unwrap();
    wait_for_lines(&path, 3);
    support::interrupt(child.id());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    let after_interrupt = answers(&path).len();

    let mut child = eval(&bundle, &path).spawn().unwrap();
    wait_for_lines(&path, after_interrupt + 3);
    child.kill().unwrap();
    child.wait().unwrap();

    let report = finish(eval(&bundle, &path));
    let before = report["answered_before"].as_u64().unwrap() as usize;
    assert!(before >= after_interrupt + 2, "{before}, {after_interrupt} after Ctrl-C");
    assert!(before < QUESTIONS, "it was killed too late to say anything");
    assert_eq!(answers(&path), answers(&whole));
    assert_eq!(report["accuracy"]["total"], QUESTIONS);
}

#[test]
fn chunks_together_are_the_whole() {
    let bundle = Bundle::new();
    let whole = bundle.beside("whole.jsonl");
    finish(eval(&bundle, &whole));
    let mut together = Vec::new();
    for chunk in ["0", "1", "2"] {
        let path = bundle.beside(chunk);
        let mut eval = eval(&bundle, &path);
        eval.args(["--num-chunks", "3", "--chunk-idx", chunk]);
        let report = finish(eval);
        let part = answers(&path);
        assert_eq!(report["questions"], part.len());
        together.extend(part);
    }
    assert_eq!(together, answers(&whole));
}

#[test]
fn a_bundle_of_the_same_name_does_not_go_on_with_another_ones_answers() {
    let bundle = Bundle::new();
    let file = bundle.beside("answers.jsonl");
    finish(eval(&bundle, &file));
    let before = fs::read_to_string(&file).unwrap();
    let manifest = fs::read(bundle.file("manifest.json")).unwrap();
    let sha256 = cumo_bundle::hash_reader(&manifest[..], |_| ()).unwrap();
    let line: Value = serde_json::from_str(before.lines().next().unwrap()).unwrap();
    assert_eq!(line["metadata"], serde_json::json!({ "bundle_sha256": sha256 }));

    bundle.change("manifest.json", |bytes| bytes.push(b'\n'));
    let output = eval(&bundle, &file).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    for part in ["line 1: an answer of another model that is called `shapes` too", &sha256] {
        assert!(said.contains(part), "{part} not in {said}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
}
