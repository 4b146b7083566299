//! Made-up boards: files below a temporary folder.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use super::Machine;
use super::root::Root;

/// A board being laid out; its files go when it goes.
pub(super) struct Board {
    folder: tempfile::TempDir,
}

impl Board {
    pub(super) fn new() -> Self {
        Board { folder: tempfile::tempdir().unwrap() }
    }

    pub(super) fn root(&self) -> Root {
        Root::new(self.folder.path().to_owned())
    }

    pub(super) fn machine(&self) -> Machine {
        Machine::below(self.folder.path())
    }

    pub(super) fn file(self, path: &str, text: &str) -> Self {
        self.bytes(path, text.as_bytes())
    }

    pub(super) fn bytes(self, path: &str, bytes: &[u8]) -> Self {
        let path = self.root().path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        self
    }

    /// Files of one folder, as pairs of name and text; each text gets a line's end.
    pub(super) fn files(self, folder: &str, files: &[(&str, &str)]) -> Self {
        let add = |board: Board, (name, text): &(&str, &str)| {
            board.file(&format!("{folder}/{name}"), &format!("{text}\n"))
        };
        files.iter().fold(self, add)
    }

    /// A shell script.
    pub(super) fn program(self, path: &str, script: &str) -> Self {
        let board = self.file(path, &format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(board.root().path(path), Permissions::from_mode(0o755)).unwrap();
        board
    }
}
