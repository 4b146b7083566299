//! Files that are shared objects, that once were, and that never were.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;

const X86_64: u16 = 62;
const AARCH64: u16 = 183;

/// A shared object of `segments`, each `(p_type, p_offset, p_filesz)`: only what is read.
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
        segment[8..16].copy_from_slice(&offset.to_le_bytes());
        segment[32..40].copy_from_slice(&length.to_le_bytes());
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
    fn a_file_is_taken_exactly_where_every_mapped_segment_lies_in_it(
        segments in prop::collection::vec((0..3_u32, 0..400_u64, 0..400_u64), 0..4),
        length in 300..600_usize,
    ) {
        let mut bytes = elf(X86_64, &segments);
        bytes.resize(length, 0);
        let fits = segments
            .iter()
            .all(|(kind, offset, size)| *kind != 1 || *size == 0 || offset + size <= length as u64);
        prop_assert_eq!(judge(&bytes, X86_64).is_ok(), fits);
    }
}
