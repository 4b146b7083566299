//! The program from outside: what it prints where there is no model, and how it ends.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn cumo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cumo"));
    command.args(arguments);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn goldens() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/goldens")
}

/// Runs a command with a text on its standard input.
fn with_input(mut command: Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn help_and_version_are_results() {
    for arguments in [&["--help"][..], &["run", "--help"], &["eval", "--help"], &["--version"]] {
        let output = cumo(arguments).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}");
        assert!(text(&output.stdout).contains("cumo"), "{arguments:?}");
    }
}

#[test]
fn wrong_arguments_are_told_apart_from_failures() {
    let wrong = cumo(&["run", "--model", "x"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    let failed = cumo(&["run", "--model", "x", "--prompt", "y"]).output().unwrap();
    assert_eq!(failed.status.code(), Some(1));
}

#[test]
fn a_folder_that_is_no_bundle_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    for arguments in [&["run", "--prompt", "x"][..], &["chat"], &["verify"]] {
        let output = cumo(arguments).args(["--model", path]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let error = text(&output.stderr);
        assert!(error.contains(path) && error.contains("no manifest.json"), "{error}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn verify_gives_json_where_the_manifest_is_at_fault_too() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("manifest.json"), "{\n").unwrap();
    let output = cumo(&["verify", "--json", "-m"]).arg(folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["intact"], &report["files"]), (&false.into(), &serde_json::json!([])));
    assert!(report["problem"].as_str().unwrap().contains("line 2"), "{report}");
    assert!(output.stderr.is_empty());
}

#[test]
fn a_missing_library_says_what_to_do() {
    let output = cumo(&["doctor", "--json"])
        .env("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so")
        .env("CUMO_TRT_SHIM", "/nowhere")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["runs_bundles"], &report["runs_engines"]), (&false.into(), &false.into()));
    assert!(report["missing"][0]["what"].as_str().unwrap().contains("/nowhere/"));
    assert!(report["missing"][0]["mend"].as_str().unwrap().contains("ORT_DYLIB_PATH"));
    assert!(report["processor"]["logical_cores"].as_u64().unwrap() >= 1);
}

#[test]
fn a_library_that_was_cut_off_is_told_and_does_not_end_the_program() {
    let library = cumo_runtime::backends::ort::find_library().unwrap().path;
    let folder = tempfile::tempdir().unwrap();
    let cut = folder.path().join("libonnxruntime.so");
    let whole = fs::read(library).unwrap();
    for length in [0, 1000, whole.len() / 2] {
        fs::write(&cut, &whole[..length]).unwrap();
        let mut doctor = cumo(&["doctor", "--json"]);
        doctor.env("ORT_DYLIB_PATH", &cut).env("CUMO_TRT_SHIM", "/nowhere");
        let output = doctor.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let what = report["missing"][0]["what"].as_str().unwrap();
        let says = format!("libonnxruntime.so (is cut off: it has {length} bytes and should have ");
        assert!(what.contains(&says), "{what}");
    }
}

#[test]
fn variables_that_are_set_and_empty_count_as_unset() {
    let variables = ["ORT_DYLIB_PATH", "CUMO_TRT_SHIM", "CUMO_TRT_LIBRARY", "CUMO_TRT_PLUGIN"];
    let libraries = |set: bool| {
        let mut doctor = cumo(&["doctor", "--json"]);
        for variable in variables {
            match set {
                true => doctor.env(variable, ""),
                false => doctor.env_remove(variable),
            };
        }
        let report: Value = serde_json::from_slice(&doctor.output().unwrap().stdout).unwrap();
        (report["onnxruntime"].clone(), report["tensorrt"].clone())
    };
    assert_eq!(libraries(true), libraries(false));
}

#[test]
fn text_and_conversations_become_the_goldens_ids() {
    let goldens = goldens();
    let tokenizer = goldens.join("tokenizer.model");
    let tokenizer = tokenizer.to_str().unwrap();
    let expected: Value =
        serde_json::from_slice(&fs::read(goldens.join("tokenizer_goldens.json")).unwrap()).unwrap();

    let conversation = &expected["conversations"][0];
    let question = &conversation["messages"][0][1];
    let input = serde_json::json!([{ "role": "user", "content": question }]).to_string();
    let template = conversation["mode"].as_str().unwrap();
    let command = cumo(&["tokenize", "--tokenizer", tokenizer, "--template", template]);
    let output = with_input(command, &input);
    assert_eq!(text(&output.stdout), format!("{}\n", conversation["ids"]));

    let string = &expected["strings"][1];
    let command = cumo(&["tokenize", "--tokenizer", tokenizer]);
    let output = with_input(command, string["text"].as_str().unwrap());
    assert_eq!(text(&output.stdout), format!("{}\n", string["ids"]));
}

#[test]
fn a_tokenizer_that_its_library_panics_on_is_told_as_one_error() {
    let plain = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../crates/processor/tests/fixtures/vocabularies/plain.json");
    let mut tokenizer: Value = serde_json::from_slice(&fs::read(plain).unwrap()).unwrap();
    // The crate cuts this off from pieces that are shorter.
    tokenizer["model"]["continuing_subword_prefix"] = "x".repeat(100).into();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokenizer.json");
    fs::write(&file, tokenizer.to_string()).unwrap();
    let mut command = cumo(&["tokenize", "--tokenizer"]);
    let output = command.arg(&file).env("RUST_BACKTRACE", "1").output().unwrap();
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("the tokenizers library cannot use it"), "{error}");
    assert!(!error.contains("panicked") && error.lines().count() == 1, "{error}");
}

#[test]
fn bad_questions_leave_no_answers_file() {
    let folder = tempfile::tempdir().unwrap();
    let questions = folder.path().join("q.jsonl");
    let answers = folder.path().join("a.jsonl");
    fs::write(&questions, "{\"question_id\": 1, \"text\": \"a\"}\nnot json\n").unwrap();
    let output = cumo(&["eval", "--model", "x", "--question-file"])
        .arg(&questions)
        .arg("--answers-file")
        .arg(&answers)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("q.jsonl, line 2"), "{}", text(&output.stderr));
    assert!(!answers.exists());
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let tokenizer = goldens().join("tokenizer.model");
    let mut child = cumo(&["tokenize", "--tokenizer"])
        .arg(tokenizer)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Nothing is written before standard input ends, so the pipe is closed by then.
    drop(child.stdout.take());
    child.stdin.take().unwrap().write_all(b"text").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(output.stderr.is_empty());
}
