//! Files that are shared objects, that once were, and that never were.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;

const X86_64: u16 = 62;
const AARCH64: u16 = 183;

/// A shared object of readable `segments`, each `(p_type, p_offset, p_filesz)`, which are in memory
/// as in the file: only what is read.
fn elf(machine: u16, segments: &[(u32, u64, u64)]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES];
    bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
    bytes[16..18].copy_from_slice(&3_u16.to_le_bytes());
    bytes[18..20].copy_from_slice(&machine.to_le_bytes());
    bytes[32..40].copy_from_slice(&(HEADER_BYTES as u64).to_le_bytes());
    bytes[54..56].copy_from_slice(&(SEGMENT_BYTES as u16).to_le_bytes());
    bytes[56..58].copy_from_slice(&(segments.len() as u16).to_le_bytes());
    for (kind, offset, length) in segments {
        let mut segment = [0; SEGMENT_BYTES];
        segment[..4].copy_from_slice(&kind.to_le_bytes());
        segment[4..8].copy_from_slice(&4_u32.to_le_bytes());
        for place in [8, 16] {
            segment[place..place + 8].copy_from_slice(&offset.to_le_bytes());
        }
        for place in [32, 40] {
            segment[place..place + 8].copy_from_slice(&length.to_le_bytes());
        }
        bytes.extend(segment);
    }
    bytes
}

fn judge(bytes: &[u8], machine: u16) -> Result<(), String> {
    let wanted = Header::read(&elf(machine, &[]), 64).unwrap().architecture;
    check_elf(&mut Cursor::new(bytes), bytes.len() as u64, Some(wanted))
        .map_err(|error| error.to_string())
}

/// The C library that this test runs on.
fn real() -> PathBuf {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mut files = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    PathBuf::from(files.find(|file| file.contains("libc.so")).unwrap())
}

#[test]
fn a_library_that_the_loader_took_is_taken() {
    check(&real()).unwrap();
}

/// Those of ONNX Runtime and TensorRT, where `cargo xtask setup` put them, and the system's.
#[test]
fn libraries_that_linkers_made_are_taken() {
    let mut folders = vec![real().parent().unwrap().to_owned()];
    let native = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/native");
    let below = fs::read_dir(native).into_iter().flatten().flatten();
    folders.extend(below.map(|entry| entry.path()).filter(|path| path.is_dir()));
    let mut judged = 0;
    for entry in folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap()).flatten() {
        let is_library = entry.file_name().to_string_lossy().contains(".so");
        match check(&entry.path()) {
            Err(fault @ (Error::Damaged(_) | Error::CutOff { .. })) if is_library => {
                panic!("{}: {fault}", entry.path().display())
            }
            Ok(()) => judged += 1,
            Err(_) => {}
        }
    }
    assert!(judged > 2, "{folders:?}");
}

#[test]
fn segments_that_do_not_fit_each_other_are_damage() {
    const DYNAMIC: u32 = 2;
    const RELRO: u32 = 0x6474_e552;
    let segments = [(1, 0, 400), (1, 400, 200), (DYNAMIC, 420, 50), (RELRO, 410, 190)];
    let mut whole = elf(X86_64, &segments);
    whole.resize(600, 0);
    assert_eq!(judge(&whole, X86_64), Ok(()));
    // Segment, place in its entry, value.
    for (segment, place, value, reason) in [
        (0, 8, 1_u64, "does not hold its header"),
        (0, 32, 63, "does not hold its header"),
        (1, 40, 199, "more bytes in the file than in memory"),
        (1, 16, u64::MAX - 100, "beyond all addresses"),
        (0, 0, 1, "not to be read"),
        (1, 16, 399, "overlap"),
        (0, 16, 600, "not in order"),
        (2, 16, 551, "dynamic section"),
        (2, 16, 399, "dynamic section"),
        (2, 16, u64::MAX, "dynamic section"),
        (3, 16, 1 << 20, "protected after relocation"),
    ] {
        let mut bytes = whole.clone();
        let at = HEADER_BYTES + segment * SEGMENT_BYTES + place;
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        let message = judge(&bytes, X86_64).unwrap_err();
        assert!(
            message.starts_with("is damaged: ") && message.contains(reason),
            "{segment} {place} {value}: {message}"
        );
    }
}

#[test]
fn a_library_that_was_cut_off_anywhere_before_its_last_segment_is_refused() {
    let library = fs::read(real()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("libcut.so");
    for length in [3, 63, 64, 200, 4096, library.len() / 2, library.len() * 9 / 10] {
        fs::write(&file, &library[..length]).unwrap();
        let message = check(&file).unwrap_err().to_string();
        let start = format!("is cut off: it has {length} bytes and should have ");
        assert!(message.starts_with(&start), "{length}: {message}");
    }
}

#[test]
fn a_library_for_another_processor_is_refused_with_both_names() {
    let message = judge(&elf(AARCH64, &[]), X86_64).unwrap_err();
    assert_eq!(message, "is for aarch64, this program is for x86-64");
    let message = judge(&elf(2, &[]), AARCH64).unwrap_err();
    assert_eq!(message, "is for another processor (ELF machine 2), this program is for aarch64");
}

#[test]
fn segments_that_are_not_mapped_may_lie_anywhere() {
    const NOTE: u32 = 4;
    let mut bytes = elf(X86_64, &[(1, 0, 256), (1, 4096, 0), (NOTE, u64::MAX, u64::MAX)]);
    bytes.resize(256, 0);
    assert_eq!(judge(&bytes, X86_64), Ok(()));
    bytes.pop();
    let message = judge(&bytes, X86_64).unwrap_err();
    assert_eq!(message, "is cut off: it has 255 bytes and should have 256 or more; copy it again");
}

#[test]
fn sizes_beyond_all_numbers_are_a_file_that_is_cut_off() {
    let message = judge(&elf(X86_64, &[(1, u64::MAX, 2)]), X86_64).unwrap_err();
    assert!(message.contains(&u64::MAX.to_string()), "{message}");
    let mut bytes = elf(X86_64, &[(1, 0, 1)]);
    bytes[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(judge(&bytes, X86_64).is_err());
}

#[test]
fn what_is_no_shared_object_is_refused_with_a_reason() {
    let changed = |place: usize, value: u8| {
        let mut bytes = elf(X86_64, &[]);
        bytes[place] = value;
        judge(&bytes, X86_64).unwrap_err()
    };
    for (message, reason) in [
        (judge(b"INPUT ( libx.so.1 )", X86_64).unwrap_err(), "does not begin as an ELF file"),
        (changed(4, 1), "not a 64-bit"),
        (changed(5, 0), "byte order"),
        (changed(16, 2), "another kind"),
        (changed(54, 1), "table of segments"),
    ] {
        assert!(message.starts_with("is no shared object: ") && message.contains(reason));
    }
}

#[test]
fn an_empty_file_is_cut_off() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let message = check(file.path()).unwrap_err().to_string();
    assert!(message.starts_with("is cut off: it has 0 bytes"), "{message}");
}

#[test]
fn a_name_without_a_folder_is_looked_for_where_the_loader_looks_first() {
    let [first, second] = [0, 1].map(|_| tempfile::tempdir().unwrap());
    let folders = std::env::join_paths([first.path(), second.path()]).unwrap();
    let judge = || check_bare(Path::new("libcut.so"), Some(&folders));
    judge().unwrap();
    fs::write(first.path().join("libcut.so"), "INPUT ( libother.so )").unwrap();
    judge().unwrap();
    fs::write(second.path().join("libcut.so"), &fs::read(real()).unwrap()[..4096]).unwrap();
    let message = judge().unwrap_err().to_string();
    let place = second.path().join("libcut.so").display().to_string();
    assert!(message.contains("is cut off") && message.contains(&place), "{message}");
}

#[cfg(unix)]
#[test]
fn a_pipe_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("libpipe.so");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    assert!(matches!(check(&pipe), Err(Error::NotAFile)));
}

#[test]
fn folders_and_missing_files_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(check(folder.path()), Err(Error::NotAFile)));
    assert!(matches!(check(Path::new("/nowhere/libx.so")), Err(Error::Io(_))));
}

proptest! {
    #[test]
    fn any_bytes_are_judged_and_none_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = judge(&bytes, X86_64);
    }

    #[test]
    fn any_change_to_a_header_is_judged_within_its_file(
        changes in prop::collection::vec((0..232_usize, any::<u8>()), 0..8),
        segments in prop::collection::vec((0..3_u32, 0..400_u64, 0..400_u64), 3),
        length in 0..400_usize,
    ) {
        let mut bytes = elf(X86_64, &segments);
        for (place, value) in changes {
            bytes[place] = value;
        }
        bytes.resize(length, 0);
        let _ = judge(&bytes, X86_64);
    }

    #[test]
    fn a_file_is_taken_exactly_where_every_mapped_segment_lies_in_it_behind_the_one_before(
        first in 0..200_u64,
        segments in prop::collection::vec((0..4_u32, 0..400_u64, 0..200_u64), 0..4),
        length in 300..600_usize,
    ) {
        // More often in order than by chance.
        let mut segments: Vec<_> = segments;
        segments.sort_by_key(|(_, offset, _)| (offset / 50, *offset % 7));
        segments.insert(0, (1, 0, first));
        let mut bytes = elf(X86_64, &segments);
        bytes.resize(length, 0);
        let mapped: Vec<_> = segments.iter().filter(|(kind, ..)| *kind == 1).collect();
        let lies = |(_, offset, size): &(u32, u64, u64)| *size == 0 || offset + size <= length as u64;
        let holds = |inner: &(u32, u64, u64)| {
            mapped.iter().any(|it| it.1 <= inner.1 && inner.1 + inner.2 <= it.1 + it.2)
        };
        let fits = first >= 64
            && mapped.iter().all(|it| lies(it))
            && mapped.windows(2).all(|pair| pair[0].1 + pair[0].2 <= pair[1].1)
            && segments.iter().filter(|it| it.0 == 2 && it.2 > 0).all(holds);
        prop_assert_eq!(judge(&bytes, X86_64).is_ok(), fits);
    }
}
