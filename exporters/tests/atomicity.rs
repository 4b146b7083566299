//! Killed at any moment, an export leaves a whole bundle or none.

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use cumo_bundle::{Bundle, FileStatus};
use safetensors::tensor::Dtype;
use support::{Changed, cumo_export, names};

const RUNS: u32 = 50;

/// A checkpoint that takes a while to write: its vocabulary has 100,000 tokens.
fn large_checkpoint(folder: &Path) {
    let mut changed = Changed::new();
    let rows = 100_000;
    changed.config["vocab_size"] = rows.into();
    for name in ["model.embed_tokens.weight", "lm_head.weight"] {
        let tensor = (Dtype::BF16, vec![rows, 64], vec![0; rows * 64 * 2]);
        changed.tensors.insert(name.to_owned(), tensor);
    }
    changed.write(folder);
}

fn is_whole(bundle: &Path) -> bool {
    Bundle::open(bundle).expect("a bundle that is there opens");
    let checks = Bundle::verify(bundle, |_| ()).expect("its manifest reads");
    checks.iter().all(|check| check.status == FileStatus::Intact)
}

/// Fractions that are spread over 0 to 1 without order (the golden ratio's multiples).
fn fraction(run: u32) -> f64 {
    (f64::from(run) * 0.618_033_988_749_894_9).fract()
}

#[test]
fn an_export_killed_at_any_moment_leaves_a_whole_bundle_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let (checkpoint, out) = (folder.path().join("checkpoint"), folder.path().join("out"));
    large_checkpoint(&checkpoint);
    let bundle = out.join("bundle");
    let command = |force: bool| {
        let mut command = cumo_export();
        command.arg("onnx").arg(&checkpoint).arg("-o").arg(&bundle);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        command.args(force.then_some("--force"));
        command
    };
    let start = Instant::now();
    assert!(command(false).status().unwrap().success());
    let whole_run = start.elapsed();
    assert!(is_whole(&bundle));

    let mut killed = 0;
    for run in 0..RUNS {
        // Half of the runs replace a bundle, which must survive; half make one.
        let replaces = run % 2 == 0;
        if !replaces && bundle.exists() {
            std::fs::remove_dir_all(&bundle).unwrap();
        } else if replaces && !bundle.exists() {
            assert!(command(false).status().unwrap().success());
        }
        let mut child = command(true).spawn().unwrap();
        std::thread::sleep(Duration::from_secs_f64(whole_run.as_secs_f64() * fraction(run)));
        child.kill().unwrap();
        if !child.wait().unwrap().success() {
            killed += 1;
        }
        if bundle.exists() {
            assert!(is_whole(&bundle), "run {run}");
        } else {
            assert!(!replaces, "run {run} lost the bundle it was to replace");
        }
    }
    assert!(killed >= RUNS / 4, "only {killed} of {RUNS} runs were killed before their end");

    // What the killed ones left behind is hidden, and goes with the next export, but for folders that
    // were killed before they had a lock or after they gave it up: these go when they are a minute old.
    assert!(command(true).status().unwrap().success());
    assert!(is_whole(&bundle));
    let left: Vec<String> = names(&out).into_iter().filter(|name| name != "bundle").collect();
    let fresh = left.iter().all(|name| name.starts_with(".bundle.partial-"));
    assert!(fresh && left.len() <= RUNS as usize / 5, "{left:?}");
}

#[cfg(unix)]
#[test]
fn an_export_over_the_limit_of_file_sizes_is_an_error_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (checkpoint, out) = (folder.path().join("checkpoint"), folder.path().join("out"));
    large_checkpoint(&checkpoint);
    std::fs::create_dir(&out).unwrap();
    for target in ["ort-cpu", "tensorrt"] {
        let output = std::process::Command::new("bash")
            .args(["-c", "ulimit -f 100; exec \"$0\" \"$@\""])
            .args([env!("CARGO_BIN_EXE_cumo-export"), "onnx", "--target", target])
            .arg(&checkpoint)
            .arg("-o")
            .arg(out.join("bundle"))
            .output()
            .unwrap();
        let message = support::stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{target}: {output:?}");
        assert!(message.contains("File too large"), "{target}: {message}");
        assert!(names(&out).is_empty(), "{target}: {:?}", names(&out));
    }
}

#[cfg(unix)]
#[test]
fn an_interrupted_export_removes_what_it_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let (checkpoint, out) = (folder.path().join("checkpoint"), folder.path().join("out"));
    large_checkpoint(&checkpoint);
    std::fs::create_dir(&out).unwrap();
    for signal in ["-INT", "-TERM"] {
        let mut interrupted = 0;
        for run in 0..6 {
            let mut child = cumo_export()
                .arg("onnx")
                .arg(&checkpoint)
                .arg("-o")
                .arg(out.join("bundle"))
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            while names(&out).is_empty() && child.try_wait().unwrap().is_none() {
                // The program takes signals from its start on; what it writes tells that it did.
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_millis(5 * run));
            let id = child.id().to_string();
            std::process::Command::new("kill").args([signal, &id]).status().unwrap();
            let output = child.wait_with_output().unwrap();
            let message = support::stderr(&output);
            match output.status.code() {
                Some(130) => {
                    interrupted += 1;
                    assert!(message.contains("interrupted; nothing was written"), "{message}");
                    assert!(names(&out).is_empty(), "{:?}", names(&out));
                }
                Some(0) => {
                    assert_eq!(names(&out), ["bundle"]);
                    assert!(is_whole(&out.join("bundle")));
                    std::fs::remove_dir_all(out.join("bundle")).unwrap();
                }
                code => panic!("{signal}: {code:?}, {message}"),
            }
        }
        assert!(interrupted > 0, "{signal} interrupted no run");
    }
}

/// A limit on the sizes of files fails as a disk that is full does.
#[cfg(target_os = "linux")]
#[test]
fn an_output_that_is_full_is_named_and_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("bundle");
    // Ignored, the signal of the limit becomes an error of the write.
    let script = "trap '' XFSZ; ulimit -f 100; exec \"$@\"";
    let exporter = cumo_export();
    let output = std::process::Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(exporter.get_program())
        .arg("onnx")
        .arg(support::golden("mistral-moe"))
        .arg("-o")
        .arg(&bundle)
        .output()
        .unwrap();
    let message = support::stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("bundle/vision.onnx: File too large"), "{message}");
    assert_eq!(message.matches("File too large").count(), 1, "{message}");
    assert!(names(folder.path()).is_empty(), "{:?}", names(folder.path()));
}
