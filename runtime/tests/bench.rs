//! `cumo bench` from outside, on the sample.
#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Output};

use cumo_results::BenchResult;
use support::{Bundle, image, interrupt, text};

/// A short benchmark's arguments.
const SHORT: [&str; 8] =
    ["--repetitions", "5", "--warmup", "1", "--gen", "4", "--prompt-tokens", "16"];

fn bench(bundle: &Bundle, arguments: &[&str]) -> Output {
    bundle.cumo("bench").args(SHORT).args(arguments).output().unwrap()
}

#[test]
fn a_result_has_every_part_and_every_sample() {
    let bundle = Bundle::new();
    let file = bundle.beside("r.json");
    let output = bench(
        &bundle,
        &[
            "--image",
            &image(0),
            "--depth",
            "0,64,4096",
            "--cold-starts",
            "2",
            "--output",
            file.to_str().unwrap(),
        ],
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("Time to first token"), "{}", text(&output.stdout));
    let result = BenchResult::read(&file).unwrap();
    assert_eq!((result.answers.len(), result.cold_starts.len()), (5, 2));
    for answer in &result.answers {
        let parts = answer.first_token;
        assert!(parts.parts().iter().all(|(_, part)| part.is_some()), "{parts:?}");
        assert_eq!(answer.inter_token_ns.len(), 3);
    }
    // Other programs may come between two parts: not in most repetitions.
    let share = |answer: &cumo_results::schema::Answer| {
        answer.first_token.residual_ns() / answer.first_token.total_ns as f64
    };
    let mut shares: Vec<f64> = result.answers.iter().map(share).collect();
    shares.sort_by(f64::total_cmp);
    assert!((0.0..0.02).contains(&shares[shares.len() / 2]), "{shares:?}");
    for start in &result.cold_starts {
        assert!(start.first_token_ns < start.first_answer_ns && start.ready_ns > 0, "{start:?}");
    }
    let depths: Vec<u64> = result.generation.iter().map(|row| row.depth_tokens).collect();
    assert_eq!(depths, [0, 64]);
    assert!(result.notes.iter().any(|note| note.starts_with("depth 4096 was skipped")));
    assert_eq!(result.configuration.images[0].name, "000.png");
    assert_eq!(result.configuration.images[0].width, 168);
    assert!(result.memory.peak_process_bytes.unwrap() > result.memory.weights_bytes.unwrap());
    assert_eq!(result.memory.peak_device_bytes, None);
    // What is planned for the same work, to the byte where it is no estimate.
    let mut plan = bundle.cumo("plan");
    plan.args(["--memory-gb", "8", "--bandwidth-gbs", "10", "--f16-tflops", "1", "--json"]);
    let output = plan.args(["--prompt-tokens", "8", "--result"]).arg(&file).output().unwrap();
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let memory = &plan["measured"]["memory"];
    for (row, what) in [(0, "weights"), (1, "cache, 256 positions")] {
        assert_eq!(
            (&memory[row]["memory"], &memory[row]["over_plan"]),
            (&what.into(), &1.0.into())
        );
    }
}

#[test]
fn a_result_is_written_though_nobody_reads_the_output() {
    let bundle = Bundle::new();
    let file = bundle.beside("r.json");
    let (output, closed) = std::io::pipe().unwrap();
    drop(output);
    let mut command = bundle.cumo("bench");
    command.args(SHORT).args(["--no-image", "--cold-starts", "0", "-o"]).arg(&file).stdout(closed);
    assert!(command.status().unwrap().success());
    assert_eq!(BenchResult::read(&file).unwrap().answers.len(), 5);
}

#[test]
fn every_router_sends_every_token_to_as_many_experts_as_it_should() {
    let bundle = Bundle::new();
    let file = bundle.beside("r.json");
    let output = bench(
        &bundle,
        &["--image", &image(0), "--cold-starts", "0", "-o", file.to_str().unwrap(), "--depth", "0"],
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    let result = BenchResult::read(&file).unwrap();
    let model = &result.model;
    let of = |part: &'static str| result.expert_load.iter().filter(move |load| load.part == part);
    let (vision, connector) = (&model.parts["vision"], &model.parts["connector"]);
    assert_eq!(of("vision").count() as u64, vision.num_layers.unwrap());
    assert_eq!((of("connector").count(), of("llm").count()), (1, 0));
    // The class token and the patches of every crop, as the sample's sizes have them.
    let sum = |load: &cumo_results::schema::ExpertLoad| load.tokens_per_expert.iter().sum::<u64>();
    let first = sum(of("vision").next().unwrap());
    assert!(of("vision").all(|load| sum(load) == first), "{:?}", result.expert_load);
    assert_eq!(first % (model.image_crops.unwrap() * vision.num_experts_per_tok.unwrap()), 0);
    let tokens = model.image_tokens.unwrap() * connector.num_experts_per_tok.unwrap();
    assert_eq!(sum(of("connector").next().unwrap()), tokens);
    let layers: Vec<u64> = of("vision").map(|load| load.layer).collect();
    assert_eq!(layers, (0..vision.num_layers.unwrap()).collect::<Vec<_>>());
}

#[test]
fn routers_that_chose_nothing_have_no_row() {
    let bundle = Bundle::new();
    let json =
        bench(&bundle, &["--no-image", "--cold-starts", "0", "--format", "json", "--depth", "0"]);
    assert!(json.status.success(), "{}", text(&json.stderr));
    let result: BenchResult = serde_json::from_slice(&json.stdout).unwrap();
    assert!(result.expert_load.is_empty(), "{:?}", result.expert_load);
    assert!(!result.notes.iter().any(|note| note.contains("choices")), "{:?}", result.notes);
}

#[test]
fn depths_that_all_lack_room_are_an_error() {
    let bundle = Bundle::new();
    let output = bench(&bundle, &["--no-image", "--cold-starts", "0", "-d", "4096"]);
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(error.contains("--depth 4096: ") && error.contains(" behind it need"), "{error}");
}

#[test]
fn without_choices_the_way_to_them_is_told_and_json_and_csv_are_read_by_programs() {
    let bundle = Bundle::without_choices();
    let json =
        bench(&bundle, &["--no-image", "--cold-starts", "0", "--format", "json", "--depth", "0"]);
    assert!(json.status.success(), "{}", text(&json.stderr));
    let result: BenchResult = serde_json::from_slice(&json.stdout).unwrap();
    assert!(result.expert_load.is_empty() && result.configuration.images.is_empty());
    assert!(
        result.notes.iter().any(|note| note.contains("without --no-choices")),
        "{:?}",
        result.notes
    );
    assert_eq!(result.answers[0].first_token.vision_ns, None);
    let csv = bench(&bundle, &["--cold-starts", "1", "--format", "csv", "--depth", "0"]);
    let csv = text(&csv.stdout);
    let columns = |line: &str| line.matches(',').count();
    assert!(csv.lines().count() > 5 && csv.lines().next().map(columns) > Some(5), "{csv}");
}

#[test]
fn a_full_disk_is_an_error_that_names_the_file_behind_the_printed_result() {
    let bundle = Bundle::new();
    let full =
        bench(&bundle, &["--no-image", "--cold-starts", "0", "--depth", "0", "-o", "/dev/full"]);
    assert_eq!(full.status.code(), Some(1));
    let complaint = text(&full.stderr);
    assert!(complaint.contains("/dev/full: cannot be written"), "{complaint}");
    assert!(complaint.contains("No space left on device"), "{complaint}");
    assert!(text(&full.stdout).contains("Time to first token"));
}

#[test]
fn a_folder_that_is_not_there_is_told_before_anything_is_measured() {
    let bundle = Bundle::new();
    let folder = bundle.beside("bundle");
    let cases = [
        ("/nowhere/r.json", "there is no folder /nowhere"),
        (folder.to_str().unwrap(), "is a directory"),
        ("/sys/r.json", ""),
    ];
    for (file, cause) in cases {
        let refused = bench(&bundle, &["-o", file]);
        assert_eq!(refused.status.code(), Some(1));
        let complaint = text(&refused.stderr);
        let place = format!("error: {file}: cannot be written: ");
        assert!(complaint.contains(&place) && complaint.contains(cause), "{complaint}");
        assert!(!complaint.contains("measuring"), "{complaint}");
    }
    assert!(fs::read_dir(&folder).unwrap().count() > 5);
}

#[test]
fn a_limit_of_file_sizes_is_told_before_anything_is_measured_and_leaves_nothing() {
    let bundle = Bundle::new();
    let file = bundle.beside("r.json");
    let limited = Command::new("bash")
        .args(["-c", "ulimit -f 10; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_cumo"), "bench"])
        .arg("--model")
        .arg(bundle.beside("bundle"))
        .args(SHORT)
        .arg("-o")
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(limited.status.code(), Some(1), "{limited:?}");
    let complaint = text(&limited.stderr);
    assert!(complaint.contains("r.json: cannot be written: File too large"), "{complaint}");
    assert!(!complaint.contains("measuring"), "{complaint}");
    let left = fs::read_dir(file.parent().unwrap()).unwrap().flatten().count();
    assert_eq!(left, 1, "the bundle alone");
}

#[test]
fn more_samples_than_a_result_holds_are_told_before_anything_is_measured() {
    let bundle = Bundle::new();
    let mut many = bundle.cumo("bench");
    let many = many.args(["--repetitions", "1000000", "--gen", "1000000"]).output().unwrap();
    assert_eq!(many.status.code(), Some(1));
    let complaint = text(&many.stderr);
    assert!(complaint.contains("a result holds at most 1048576"), "{complaint}");
    assert!(!complaint.contains("measuring"), "{complaint}");
}

#[test]
fn ctrl_c_ends_it_in_every_stage_and_leaves_no_file() {
    let bundle = Bundle::new();
    let file = bundle.beside("r.json");
    for stage in ["measuring: cold start", "measuring: question", "measuring: depth 0"] {
        let mut command = bundle.cumo("bench");
        let repetitions = if stage.ends_with("question") { "500" } else { "3" };
        command.args(["--warmup", "0", "-o"]).arg(&file);
        command.args(["--repetitions", repetitions, "--gen", "500"]);
        let starts = if stage.ends_with("cold start") { "1000" } else { "0" };
        command.args(["--cold-starts", starts]);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let begun = lines.by_ref().map(Result::unwrap).any(|line| line == stage);
        assert!(begun, "{stage}");
        interrupt(child.id());
        let rest: Vec<String> = lines.map(Result::unwrap).collect();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{stage}: {rest:?}");
        assert_eq!(rest.last().map(String::as_str), Some("stopped: nothing was written"));
        let left = fs::read_dir(file.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
        let left: Vec<_> = left.filter(|path| path.is_file()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn without_a_model_or_a_subcommand_the_help_says_what_there_is() {
    let output = Command::new(env!("CARGO_BIN_EXE_cumo")).arg("bench").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let help = text(&output.stderr);
    assert!(help.contains("cumo bench --model bundle") && help.contains("compare"), "{help}");
    assert!(!help.contains("first-answer"), "{help}");
    let output =
        Command::new(env!("CARGO_BIN_EXE_cumo")).args(["bench", "--gen", "4"]).output().unwrap();
    assert!(text(&output.stderr).contains("--model"), "{}", text(&output.stderr));
}
