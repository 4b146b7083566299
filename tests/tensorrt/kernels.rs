//! Kernels that one start compiles and keeps, and the next one finds.

use std::fs;
use std::path::{Path, PathBuf};

use cumo_export::MoeKind;
use cumo_runtime::Model;
use cumo_runtime::backend::KernelFacts;
use cumo_standin::{DeviceSettings, Settings};
use cumo_tests::Golden;

use crate::support::{Setup, answer, golden};

/// What kernels the model found; none where none are kept.
fn facts(model: &mut Model) -> Option<KernelFacts> {
    model.executor().backend().device.unwrap().kernels
}

/// Opens, answers and ends. Gives how many kernels were compiled, whether some were found, and the
/// notes.
fn run(setup: &Setup, golden: &Golden, folder: &Path) -> (u64, bool, Vec<String>) {
    let mut model = setup.open_keeping(folder).unwrap();
    let is_found = facts(&mut model).unwrap().found_bytes.is_some();
    let prompt = &golden.prompts["text_only"];
    let found = answer(&mut model, &prompt.input_ids, &[], prompt.greedy_tokens.len()).unwrap();
    assert_eq!(found.tokens, prompt.greedy_tokens);
    model.keep_compiled();
    let notes = model.take_notes();
    (setup.finish(model).compilations, is_found, notes)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn a_second_start_compiles_nothing() {
    let golden = golden("mistral-moe");
    let setup = Setup::new(&golden, MoeKind::Plugin);
    let folder = tempfile::tempdir().unwrap();
    let (compiled, is_found, notes) = run(&setup, &golden, folder.path());
    assert!(compiled > 4 && !is_found && notes.is_empty(), "{compiled}, {notes:?}");
    let [file] = &files(folder.path())[..] else { panic!("one file") };
    let written = fs::metadata(file).unwrap().modified().unwrap();
    assert_eq!(run(&setup, &golden, folder.path()), (0, true, Vec::new()));
    assert_eq!(fs::metadata(file).unwrap().modified().unwrap(), written, "nothing changed");
    assert_eq!(files(folder.path()).len(), 1);
}

#[test]
fn what_is_compiled_after_the_first_answer_is_kept_at_the_end() {
    let golden = golden("mistral-moe");
    let setup = Setup::new(&golden, MoeKind::Plugin);
    let folder = tempfile::tempdir().unwrap();
    run(&setup, &golden, folder.path());
    let both = |model: &mut Model| {
        for length in [3, 5] {
            answer(model, &golden.prompts["text_only"].input_ids[..length], &[], 2).unwrap();
            model.keep_compiled();
            model.forget().unwrap();
        }
    };
    let mut model = setup.open_keeping(folder.path()).unwrap();
    both(&mut model);
    assert!(setup.finish(model).compilations > 1);
    let mut model = setup.open_keeping(folder.path()).unwrap();
    both(&mut model);
    assert_eq!(setup.finish(model).compilations, 0);
}

#[test]
fn another_device_driver_or_model_finds_none_and_harms_none() {
    let golden = golden("mistral-moe");
    let setup = Setup::new(&golden, MoeKind::Plugin);
    let folder = tempfile::tempdir().unwrap();
    let (compiled, ..) = run(&setup, &golden, folder.path());
    let other = |device: DeviceSettings| {
        let device = Some(device);
        setup.stand_in.set(&Settings { device, ..Settings::default() }).unwrap();
        assert_eq!(run(&setup, &golden, folder.path()), (compiled, false, Vec::new()));
    };
    other(DeviceSettings { name: "Another".to_owned(), ..DeviceSettings::default() });
    other(DeviceSettings { driver: 13010, ..DeviceSettings::default() });
    setup.stand_in.set(&Settings::default()).unwrap();
    assert_eq!(run(&setup, &golden, folder.path()), (0, true, Vec::new()));

    let dense = self::golden("mistral-dense");
    let setup = Setup::new(&dense, MoeKind::Function);
    assert!(!run(&setup, &dense, folder.path()).1);
    assert_eq!(files(folder.path()).len(), 4);
}

#[test]
fn a_damaged_file_is_told_and_replaced() {
    let golden = golden("mistral-moe");
    let setup = Setup::new(&golden, MoeKind::Plugin);
    let folder = tempfile::tempdir().unwrap();
    let (compiled, ..) = run(&setup, &golden, folder.path());
    let file = files(folder.path()).remove(0);
    let whole = fs::read(&file).unwrap();
    let damages: [&[u8]; 4] = [b"", b"something else", &whole[..whole.len() - 1], &whole[1..]];
    for damaged in damages {
        fs::write(&file, damaged).unwrap();
        let (again, is_found, notes) = run(&setup, &golden, folder.path());
        assert_eq!((again, is_found), (compiled, false));
        let [note] = &notes[..] else { panic!("{notes:?}") };
        assert!(note.contains("compiled anew") && note.contains("damaged"), "{note}");
        assert_eq!(fs::read(&file).unwrap(), whole);
    }
    assert_eq!(run(&setup, &golden, folder.path()), (0, true, Vec::new()));
}

#[test]
fn a_place_that_cannot_be_written_is_one_note_and_the_answer_is_there() {
    let golden = golden("mistral-moe");
    let setup = Setup::new(&golden, MoeKind::Plugin);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let (_, is_found, notes) = run(&setup, &golden, &file.join("below"));
    let notes: Vec<_> = notes.iter().filter(|note| note.contains("cannot be kept")).collect();
    assert!(!is_found);
    let [note] = &notes[..] else { panic!("{notes:?}") };
    assert!(note.contains("CUMO_CACHE_DIR") && note.contains("--no-kernel-cache"), "{note}");
}

#[test]
fn where_it_is_switched_off_nothing_is_kept() {
    let golden = golden("mistral-moe");
    let setup = Setup::new(&golden, MoeKind::Plugin);
    let mut model = setup.open().unwrap();
    assert_eq!(facts(&mut model), None);
    answer(&mut model, &golden.prompts["text_only"].input_ids, &[], 2).unwrap();
    model.keep_compiled();
    assert_eq!(model.take_notes(), [""; 0]);
    assert!(setup.finish(model).compilations > 0);
}
