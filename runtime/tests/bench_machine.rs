//! What `cumo bench` keeps of the machine, from outside, on the sample.
#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cumo_results::BenchResult;
use cumo_results::schema::Conditions;
use support::{Bundle, image, skip, text};

#[test]
fn half_of_the_starts_find_the_bundle_dropped_from_the_page_cache() {
    let bundle = Bundle::new();
    let file = bundle.beside("r.json");
    let mut bench = bundle.cumo("bench");
    bench.args(["--image", &image(0), "--cold-starts", "4", "--repetitions", "1", "--warmup", "0"]);
    let output = bench.args(["--gen", "4", "--depth", "0", "-o"]).arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let result = BenchResult::read(&file).unwrap();
    let flags: Vec<_> = result.cold_starts.iter().map(|start| start.page_cache_dropped).collect();
    assert_eq!(flags.len(), 4);
    assert_eq!((flags[1], flags[3]), (Some(false), Some(false)));
    for start in &result.cold_starts {
        // An answer cannot be before its first token, nor either before the process was ready.
        let whole = [start.to_first_token_ns().unwrap(), start.to_first_answer_ns().unwrap()];
        assert!(start.ready_ns < whole[0] && whole[0] < whole[1], "{start:?}");
    }
    match (flags[0], flags[2]) {
        (Some(true), Some(true)) => {
            assert!(result.notes.iter().any(|note| note.starts_with("2 of 4 new processes read")));
        }
        _ => skip(&format!("this system does not drop files from its page cache: {flags:?}")),
    }
}

#[test]
fn a_new_process_is_ready_when_all_is_loaded_that_the_answer_needs() {
    let bundle = Bundle::new();
    // A tower that cannot be loaded.
    bundle.change("vision.onnx", |bytes| bytes.fill(0xff));
    let answer = |images: &[&str]| {
        let mut cumo = Command::new(env!("CARGO_BIN_EXE_cumo"));
        cumo.args(["bench", "first-answer", "--model"]).arg(bundle.beside("bundle"));
        cumo.args(["--gen", "2"]).args(images).output().unwrap()
    };
    let seeing = answer(&["--image", &image(0)]);
    assert!(!seeing.status.success() && seeing.stdout.is_empty(), "{seeing:?}");
    assert!(text(&seeing.stderr).contains("vision"), "{seeing:?}");
    let blind = answer(&["--no-image"]);
    assert!(blind.status.success(), "{blind:?}");
    assert!(text(&blind.stdout).starts_with("ready\nfirst token\nanswered\n"), "{blind:?}");
}

fn temperature(zone: &Path, celsius: u32) {
    fs::write(zone.join("temp"), format!("{celsius}000\n")).unwrap();
}

/// Measures the sample without images and starts, told line by line what the program says, which
/// sees `sys` in the place of `/sys`, in a namespace of its own. None where the system lets no user
/// do that: the test is skipped.
fn bench_below(
    sys: &Path,
    bundle: &Bundle,
    arguments: &[&str],
    mut told: impl FnMut(&str),
) -> Option<BenchResult> {
    let file = bundle.beside("r.json");
    let script = "mount --bind \"$1\" /sys || exit 77; shift; exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", script, "sh"]).arg(sys);
    command.args([env!("CARGO_BIN_EXE_cumo"), "bench", "--model"]).arg(bundle.beside("bundle"));
    command.args(arguments).args(["--warmup", "0", "--no-image"]);
    command.args(["--cold-starts", "0", "--depth", "0", "-o"]).arg(&file);
    let mut child = match command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => {
            skip(&format!("there is no `unshare`: {error}"));
            return None;
        }
    };
    let mut said = Vec::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap) {
        told(&line);
        said.push(line);
    }
    let status = child.wait().unwrap();
    if status.code() == Some(77) || said.iter().any(|line| line.starts_with("unshare:")) {
        skip(&format!("this system lets nobody mount another /sys: {said:?}"));
        return None;
    }
    assert!(status.success(), "{said:?}");
    Some(BenchResult::read(&file).unwrap())
}

#[test]
fn the_machines_state_is_kept_from_before_during_and_after() {
    let bundle = Bundle::new();
    let sys = bundle.beside("sys");
    let zone = sys.join("class/thermal/thermal_zone0");
    fs::create_dir_all(&zone).unwrap();
    fs::write(zone.join("type"), "oven\n").unwrap();
    temperature(&zone, 50);
    let arguments = ["--repetitions", "60", "--gen", "128"];
    let done = bench_below(&sys, &bundle, &arguments, |line| match line {
        "measuring: question" => temperature(&zone, 70),
        "measuring: depth 0" => temperature(&zone, 60),
        _ => {}
    });
    let Some(result) = done else { return };
    let celsius = |state: &Conditions| -> Vec<(String, f64)> {
        state.temperatures.iter().map(|t| (t.sensor.clone(), t.celsius)).collect()
    };
    let states = result.environment.moments().map(|(_, state)| celsius(state));
    let oven = |celsius| vec![("oven".to_owned(), celsius)];
    assert_eq!(states, [oven(50.0), oven(70.0), oven(60.0)]);
    assert!(result.environment.after.load_average.is_some());
    assert_eq!(result.energy, None);
    let note = "energy was not measured: this machine has no power sensor";
    assert!(result.notes.iter().any(|said| said.starts_with(note)), "{:?}", result.notes);
}

/// A machine's `/sys` with the power monitor of an Orin Nano that takes 10 W.
fn orin_nano(sys: &Path) -> PathBuf {
    let chip = sys.join("bus/i2c/devices/1-0040");
    let monitor = chip.join("hwmon/hwmon3");
    fs::create_dir_all(&monitor).unwrap();
    fs::write(chip.join("name"), "ina3221\n").unwrap();
    let files = [("in1_label", "VDD_IN\n"), ("in1_input", "5000\n"), ("curr1_input", "2000\n")];
    for (file, text) in files {
        fs::write(monitor.join(file), text).unwrap();
    }
    monitor
}

#[test]
fn a_power_sensor_is_listened_to_and_one_that_vanishes_is_a_note_and_no_number() {
    let bundle = Bundle::new();
    let sys = bundle.beside("sys");
    let monitor = orin_nano(&sys);
    for vanishes in [false, true] {
        let done = bench_below(&sys, &bundle, &["--repetitions", "1", "--gen", "4"], |line| {
            if vanishes && line == "measuring: energy" {
                fs::remove_file(monitor.join("curr1_input")).unwrap();
            }
        });
        let Some(result) = done else { return };
        // Everything else is there.
        assert_eq!((result.answers.len(), result.generation.len()), (1, 1));
        let note = result.notes.iter().find(|note| note.starts_with("energy was not measured"));
        match (result.energy, vanishes) {
            (Some(energy), false) => {
                assert_eq!(energy.sensor, "INA3221 VDD_IN");
                let watts = energy.idle.unwrap().watts().unwrap();
                assert!((watts - 10.0).abs() < 1e-6, "{watts}");
                assert_eq!((energy.images.len(), energy.tokens.len()), (0, 1));
                assert_eq!(note, None);
            }
            (None, true) => {
                let note = note.unwrap();
                let sensor = "energy was not measured: the sensor INA3221 VDD_IN vanished: ";
                assert!(note.starts_with(sensor) && note.contains("curr1_input"), "{note}");
            }
            other => panic!("{other:?}"),
        }
    }
}
