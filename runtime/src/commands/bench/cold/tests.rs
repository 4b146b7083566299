use clap::Parser;

use super::*;
use crate::cli::{BenchCommand, Cli, Command as Typed};

fn parsed(arguments: impl IntoIterator<Item = OsString>) -> Typed {
    let all = std::iter::once("cumo".into()).chain(arguments);
    Cli::try_parse_from(all).unwrap().command
}

#[test]
fn a_new_process_is_told_all_that_this_one_was() {
    let typed = [
        "bench",
        "-m",
        "engines",
        "--device",
        "1",
        "--weights-in-place",
        "--no-kernel-cache",
        "--threads",
        "1",
        "--image",
        "a.png",
        "--image",
        "b.png",
        "-p",
        "7",
        "-n",
        "9",
        "--seed",
        "4",
    ];
    for typed in [&typed[..], &["bench", "-m", "engines", "--no-image"]] {
        let Typed::Bench(bench) = parsed(typed.iter().map(OsString::from)) else { panic!() };
        let work = bench.measure.0.unwrap().work;
        let Typed::Bench(told) = parsed(arguments(&work, &work.image)) else { panic!() };
        let Some(BenchCommand::FirstAnswer(told)) = told.command else { panic!() };
        assert_eq!(format!("{told:?}"), format!("{work:?}"));
    }
}

#[test]
fn what_starts_compiled_is_told_where_it_is_known() {
    let start = |kernels_found| ColdStart { kernels_found, ..ColdStart::default() };
    assert_eq!(kernels(&[start(None)]), None);
    let starts = [Some(false), Some(true), Some(true)].map(start);
    let note = kernels(&starts).unwrap();
    assert!(note.contains("1 compiled the device's kernels and 2 found"), "{note}");
}

#[cfg(unix)]
#[test]
fn a_process_that_complains_at_length_is_read_to_its_end() {
    let script = "echo ready; head -c 300000 /dev/zero | tr '\\0' x >&2; echo answered; echo 5";
    let (sender, done) = mpsc::channel();
    thread::spawn(move || {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        let started = start(|| piped(&mut shell).spawn(), &CancelToken::new());
        sender.send(started.map_err(|error| error.to_string())).unwrap();
    });
    let (start, read) = done.recv_timeout(Duration::from_secs(20)).unwrap().unwrap();
    assert!(start.ready_ns > 0 && start.first_answer_ns.is_some(), "{start:?}");
    assert_eq!((start.first_token_ns, read), (None, Some(5)));
    let mut shell = Command::new("sh");
    shell.args(["-c", "echo no model >&2; exit 3"]);
    let error = super::start(|| piped(&mut shell).spawn(), &CancelToken::new());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("exit status: 3") && error.ends_with("no model"), "{error}");
}

/// As a machine whose page cache is `cached` and whose files have 1,000 bytes.
fn starts_on(drops: bool, tells: bool, count: usize) -> Vec<Started> {
    let cached = std::cell::Cell::new(true);
    let drop_cached = || {
        cached.set(!drops);
        true
    };
    let start = || {
        let read = if cached.replace(true) { 0 } else { 900 };
        Ok((ColdStart::default(), tells.then_some(read)))
    };
    alternating(count, 1_000, drop_cached, start).unwrap()
}

#[test]
fn every_other_start_reads_from_storage_beginning_with_the_first() {
    let flags = |started: &[Started]| -> Vec<Option<bool>> {
        started.iter().map(|started| started.times.page_cache_dropped).collect()
    };
    let started = starts_on(true, true, 5);
    assert_eq!(flags(&started), [true, false, true, false, true].map(Some));
    let note = page_cache(&started);
    assert!(note.starts_with("3 of 5 new processes read up to 0.0 MB"), "{note}");
    // A kernel that does not do as it is asked, and one that does not tell.
    let kept = starts_on(false, true, 3);
    assert_eq!(flags(&kept), [Some(false); 3]);
    assert!(page_cache(&kept).contains("asked to drop it before 2 of 3"), "{kept:?}");
    let unknown = starts_on(true, false, 3);
    assert_eq!(flags(&unknown), [None, Some(false), None]);
    assert!(page_cache(&unknown).contains("is not known"), "{unknown:?}");
    let never = alternating(2, 1, || false, || Ok((ColdStart::default(), Some(5)))).unwrap();
    assert_eq!(flags(&never), [Some(false); 2]);
    assert!(page_cache(&never).contains("it was not dropped"), "{never:?}");
}

#[cfg(unix)]
#[test]
fn the_time_that_making_the_process_takes_is_in_the_start() {
    let slow = || {
        thread::sleep(Duration::from_millis(300));
        piped(Command::new("sh").args(["-c", "echo ready"])).spawn()
    };
    let (start, _) = start(slow, &CancelToken::new()).unwrap();
    assert!(start.ready_ns >= 300_000_000, "{start:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn files_that_are_dropped_are_all_files_of_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    assert!(!drop_cached(folder.path()), "no file");
    std::fs::write(folder.path().join("weights"), [1; 5000]).unwrap();
    std::fs::write(folder.path().join("graph"), [1; 70]).unwrap();
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    assert!(drop_cached(folder.path()));
    assert_eq!(folder_bytes(folder.path()), 5070);
}
