//! `cumo bench compare` and `cumo bench report` from outside: what they print, how they end, and
//! what they leave.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cumo_results::BenchResult;
use cumo_results::schema::{Answer, ColdStart, Device, FirstToken, Generation, Memory, Prefill};

/// A result of ten repetitions of a prompt that take `factor` as long.
fn result(factor: u64) -> BenchResult {
    let repetitions_ns = (0..10).map(|index| factor * (1_000_000 + index * 1000)).collect();
    let prefill = vec![Prefill { tokens: 64, depth_tokens: 0, repetitions_ns }];
    BenchResult { prefill, ..BenchResult::default() }
}

/// A result with every kind of metric, whose times are `factor` as long.
fn whole(repetitions: u64, factor: u64) -> BenchResult {
    let times = |ns: u64| (0..repetitions).map(move |index| factor * (ns + index * ns / 1000));
    let answer = |total_ns| Answer {
        first_token: FirstToken {
            total_ns,
            prefill_ns: Some(total_ns - 1),
            ..FirstToken::default()
        },
        inter_token_ns: vec![factor * 1_000_000; 3],
    };
    let mut result = BenchResult {
        answers: times(9_000_000).map(answer).collect(),
        prefill: vec![Prefill {
            tokens: 64,
            depth_tokens: 0,
            repetitions_ns: times(5_000_000).collect(),
        }],
        generation: vec![Generation {
            tokens: 4,
            depth_tokens: 0,
            repetitions_inter_token_ns: times(1_000_000).map(|ns| vec![ns; 4]).collect(),
        }],
        cold_starts: vec![ColdStart { ready_ns: 30_000_000, ..ColdStart::default() }; 3],
        memory: Memory {
            weights_bytes: Some(1 << 30),
            cache_bytes: Some(1 << 20),
            peak_process_bytes: Some(1 << 31),
            ..Memory::default()
        },
        ..BenchResult::default()
    };
    result.configuration.prompt_tokens = 64;
    result
}

struct Files(tempfile::TempDir);

impl Files {
    /// `fast.json`, `slow.json`, and what is no result.
    fn new() -> Files {
        let files = Files(tempfile::tempdir().unwrap());
        result(10).write(&files.path("fast.json")).unwrap();
        result(12).write(&files.path("slow.json")).unwrap();
        fs::write(files.path("cut.json"), &result(10).to_json()[..100]).unwrap();
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn bench(&self, arguments: &[&str]) -> Output {
        let mut cumo = Command::new(env!("CARGO_BIN_EXE_cumo"));
        cumo.arg("bench").args(arguments).current_dir(self.0.path()).output().unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_regression_is_exit_code_1_and_its_reverse_0() {
    let files = Files::new();
    let slower = files.bench(&["compare", "fast.json", "slow.json"]);
    assert_eq!(slower.status.code(), Some(1), "{slower:?}");
    let table = text(&slower.stdout);
    assert!(
        table.starts_with("metric    fast.json    slow.json ") && table.contains("SLOWER"),
        "{table}"
    );
    assert!(table.contains("1 regression in 1 metric:"), "{table}");
    let faster = files.bench(&["compare", "slow.json", "fast.json"]);
    assert_eq!(faster.status.code(), Some(0), "{faster:?}");
    assert!(text(&faster.stdout).contains("faster"));
    let allowed = files.bench(&["compare", "fast.json", "slow.json", "--threshold", "30"]);
    assert_eq!(allowed.status.code(), Some(0), "{allowed:?}");
    let json = files.bench(&["compare", "fast.json", "slow.json", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["rows"][0]["verdict"], "worse");
}

#[test]
fn whole_results_that_nothing_can_be_said_of_are_exit_code_2() {
    let files = Files::new();
    let write = |name: &str, result: &BenchResult| result.write(&files.path(name)).unwrap();
    write("once.json", &whole(1, 1));
    write("once-slow.json", &whole(1, 5));
    write("many.json", &whole(10, 1));
    // Other work: another prompt, other lengths.
    let mut other = whole(10, 5);
    other.configuration.prompt_tokens = 32;
    other.prefill[0].tokens = 32;
    other.generation[0].depth_tokens = 8;
    write("other.json", &other);
    for pair in [["once.json", "once-slow.json"], ["many.json", "other.json"]] {
        let output = files.bench(&["compare", pair[0], pair[1]]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let table = text(&output.stdout);
        assert!(table.contains("Nothing was judged") && !table.contains("No regr"), "{table}");
        assert!(text(&output.stderr).contains("no metric of the model's work"), "{output:?}");
    }
    // The same with repetitions.
    write("many-slow.json", &whole(10, 5));
    let slower = files.bench(&["compare", "many.json", "many-slow.json"]);
    assert_eq!(slower.status.code(), Some(1), "{slower:?}");
    let same = files.bench(&["compare", "many.json", "many.json"]);
    assert_eq!(same.status.code(), Some(0), "{same:?}");
}

#[test]
fn several_files_have_a_column_each_and_no_verdict() {
    let files = Files::new();
    let mut device = result(20);
    device.environment.device = Some(Device { name: "RTX".to_owned(), ..Device::default() });
    device.write(&files.path("rtx.json")).unwrap();
    let output = files.bench(&["compare", "fast.json", "slow.json", "rtx.json", "--format", "md"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let table = text(&output.stdout);
    assert!(table.lines().any(|line| line.starts_with('|') && line.contains(" RTX |")), "{table}");
    let json = files.bench(&["compare", "fast.json", "slow.json", "rtx.json", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["results"].as_array().unwrap().len(), 3, "{json}");
    let prompt = &json["metrics"][0];
    assert_eq!((&prompt["name"], &prompt["values"][1]["count"]), (&"pp64".into(), &10.into()));
}

#[test]
fn files_that_cannot_be_used_are_exit_code_2_and_named() {
    let files = Files::new();
    for (file, said) in [("no.json", "cannot be read"), ("cut.json", "not a whole result")] {
        for arguments in
            [["compare", "fast.json", file].as_slice(), &["report", file, "-o", "r.html"]]
        {
            let output = files.bench(arguments);
            assert_eq!(output.status.code(), Some(2), "{output:?}");
            let message = text(&output.stderr);
            assert!(message.contains(file) && message.contains(said), "{message}");
            assert!(output.stdout.is_empty());
        }
    }
    assert!(!files.path("r.html").exists());
    for arguments in [["compare", "fast.json"].as_slice(), &["compare"], &["report", "fast.json"]] {
        assert_eq!(files.bench(arguments).status.code(), Some(2), "{arguments:?}");
    }
    for threshold in ["-1", "nan", "x", "1e9"] {
        let output = files.bench(&["compare", "fast.json", "slow.json", "--threshold", threshold]);
        assert_eq!(output.status.code(), Some(2), "{threshold}");
    }
}

#[test]
fn a_report_is_one_page() {
    let files = Files::new();
    let output = files.bench(&["report", "fast.json", "slow.json", "-o", "r.html"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let page = fs::read_to_string(files.path("r.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
    let folder = files.bench(&["report", "fast.json", "-o", "missing/r.html"]);
    assert_eq!(folder.status.code(), Some(2));
    assert!(text(&folder.stderr).contains("missing/r.html: cannot be written"), "{folder:?}");
}

/// Says that a test is skipped, past the harness, which keeps what passing tests print.
#[cfg(target_os = "linux")]
fn skip(reason: &str) {
    use std::io::Write;
    std::io::stderr().write_all(format!("skipped: {reason}\n").as_bytes()).unwrap();
}

/// On a disk of 48 kB, which a user may mount in a namespace of their own, with room for two files
/// of results and the page of one, but not for the page of both.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_the_page_that_was_there() {
    let files = Files::new();
    let folder = files.path("disk");
    fs::create_dir(&folder).unwrap();
    let script = "mount -t tmpfs -o size=48k none \"$1\" || exit 77\n\
                  echo old > \"$1/r.html\" && head -c 40960 /dev/zero > \"$1/filler\"\n\
                  \"$2\" bench report fast.json slow.json -o \"$1/r.html\"; echo \"code $?\"\n\
                  cat \"$1/r.html\"; ls -A \"$1\"";
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .args([&folder, Path::new(env!("CARGO_BIN_EXE_cumo"))])
        .current_dir(files.0.path())
        .output();
    let output = match output {
        Ok(output) if output.status.code() != Some(77) => output,
        other => {
            skip(&format!("this system lets nobody mount a small disk: {other:?}"));
            return;
        }
    };
    let message = text(&output.stderr);
    if message.contains("unshare failed") || message.contains("unshare:") {
        skip(&message);
        return;
    }
    assert_eq!(text(&output.stdout), "code 2\nold\nfiller\nr.html\n", "{message}");
    assert!(
        message.contains("disk/r.html: cannot be written; what was there is unchanged"),
        "{message}"
    );
    assert!(message.contains("No space left on device"), "{message}");
}
