//! Checks of the repository that no compiler makes.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::metadata::Metadata;
use crate::workspace::Workspace;
use crate::{layers, process, stand_in};

/// The largest file that is kept without being named below.
const MAX_BYTES: u64 = 2_000_000;

/// Files that may be larger: the sample's trained weights.
const LARGE: [&str; 1] = ["samples/shapes/checkpoint/"];

/// Where people and programs have their own folders: a path below one is of somebody's machine.
const HOMES: [&str; 3] = [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];

/// Where programs put what they make on the way. Text may name it as an example; a file that is not
/// text has it from the run that made the file.
const TEMPORARY: &str = "/tmp/";

/// Words that stand for unfinished work.
const UNFINISHED: [&str; 4] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("to", "do!("),
    concat!("unimple", "mented!("),
];

/// Checks sizes, leftovers and the direction of dependencies.
///
/// # Errors
/// Every finding, with its file and line.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let files = tracked_files(workspace)?;
    let words = Words::of_this_machine(&workspace.root);
    let mut problems = Vec::new();
    for file in &files {
        check_file(workspace, file, &words, &mut problems)?;
    }
    if !problems.is_empty() {
        bail!("tidy:\n  {}", problems.join("\n  "));
    }
    let metadata = Metadata::read(workspace)?;
    layers::check(&metadata)?;
    stand_in::check(&metadata)?;
    println!("{} files checked", files.len());
    Ok(())
}

/// Files that git keeps, or would keep.
fn tracked_files(workspace: &Workspace) -> Result<Vec<String>> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let text = process::read(git.current_dir(&workspace.root))?;
    Ok(text.split_terminator('\0').map(str::to_owned).collect())
}

fn check_file(
    workspace: &Workspace,
    file: &str,
    words: &Words,
    problems: &mut Vec<String>,
) -> Result<()> {
    let path = workspace.root.join(file);
    let Ok(metadata) = fs::symlink_metadata(&path) else { return Ok(()) };
    if !metadata.is_file() {
        return Ok(());
    }
    let bytes = metadata.len();
    if bytes > MAX_BYTES && !LARGE.iter().any(|large| file.starts_with(large)) {
        problems.push(format!("{file}: {bytes} bytes, over {MAX_BYTES}"));
    }
    let content = fs::read(&path).with_context(|| path.display().to_string())?;
    words.check(file, &content, problems);
    Ok(())
}

/// What no file may hold.
struct Words {
    /// Beginnings of paths of a machine: what a script wrote, or a hand copied.
    machine: Vec<String>,
}

impl Words {
    fn of_this_machine(root: &Path) -> Self {
        let variable = |name| std::env::var(name).ok();
        // A clone among temporary files is as good, and texts name that folder as an example.
        let beside = root.parent().filter(|parent| *parent != std::env::temp_dir());
        let beside = beside.map(|parent| parent.display().to_string());
        let root = Some(root.display().to_string());
        let folders = [root, beside, variable("HOME"), variable("CARGO_TARGET_DIR")];
        let folders = folders.into_iter().flatten().filter(|folder| folder.len() > 1);
        let mut machine: Vec<String> = folders
            .filter(|folder| Path::new(folder).is_absolute())
            .map(|folder| format!("{}/", folder.trim_end_matches('/')))
            .chain(HOMES.map(str::to_owned))
            .collect();
        machine.sort();
        machine.dedup();
        Words { machine }
    }

    fn check(&self, file: &str, content: &[u8], problems: &mut Vec<String>) {
        let text = str::from_utf8(content).ok();
        let temporary = text.is_none().then_some(TEMPORARY);
        let paths: Vec<&str> = self.machine.iter().map(String::as_str).chain(temporary).collect();
        for (at, path) in found(content, &paths) {
            let line = || 1 + content[..at].iter().filter(|byte| **byte == b'\n').count();
            let place = text.map_or_else(|| format!("byte {at}"), |_| line().to_string());
            problems.push(format!("{file}:{place}: holds `{path}`, a path of a machine"));
        }
        let code = [".rs", ".py", ".sh"].iter().any(|extension| file.ends_with(extension));
        for (line, content) in (1..).zip(text.unwrap_or_default().lines()) {
            if let Some(word) = UNFINISHED.iter().find(|word| code && content.contains(**word)) {
                problems.push(format!("{file}:{line}: holds `{word}`"));
            }
        }
    }
}

/// Where in a file's bytes which path begins, in their order; one path a place.
fn found<'a>(content: &[u8], paths: &[&'a str]) -> Vec<(usize, &'a str)> {
    let at = |at: usize| {
        let path = paths.iter().find(|path| content[at..].starts_with(path.as_bytes()))?;
        Some((at, *path))
    };
    let mut starts: Vec<u8> = paths.iter().filter_map(|path| path.bytes().next()).collect();
    starts.dedup();
    let begins = content.iter().enumerate().filter(|(_, byte)| starts.contains(byte));
    begins.filter_map(|(place, _)| at(place)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(file: &str, content: impl AsRef<[u8]>) -> Vec<String> {
        let words = Words { machine: vec!["/someone/".to_owned()] };
        let mut problems = Vec::new();
        words.check(file, content.as_ref(), &mut problems);
        problems
    }

    #[test]
    fn finds_paths_of_a_machine_with_their_line() {
        let problems = check("a.md", "one\nsee /someone/model\n");
        assert_eq!(problems, ["a.md:2: holds `/someone/`, a path of a machine"]);
        assert!(check("a.md", "see /else/model and /tmp/model").is_empty());
    }

    #[test]
    fn searches_files_of_any_size_that_are_not_text_for_folders_of_programs_too() {
        let mut content = vec![0xff; 600_000];
        content.extend(b"/someone/x /tmp/build/x");
        let problems = check("a.model", &content);
        assert_eq!(
            problems,
            [
                "a.model:byte 600000: holds `/someone/`, a path of a machine",
                "a.model:byte 600011: holds `/tmp/`, a path of a machine",
            ]
        );
    }

    #[test]
    fn a_machine_has_the_workspace_what_lies_beside_it_and_homes() {
        let words = Words::of_this_machine(Path::new("/builds/cumo"));
        for path in ["/builds/", "/builds/cumo/", HOMES[0], HOMES[1]] {
            assert!(words.machine.iter().any(|word| word == path), "{path}");
        }
        for clone in [Path::new("/").join("cumo"), std::env::temp_dir().join("cumo")] {
            let words = Words::of_this_machine(&clone).machine;
            assert!(
                words.iter().all(|word| *word != "/" && Path::new(word) != std::env::temp_dir())
            );
        }
    }

    #[test]
    fn finds_unfinished_work_in_code_only() {
        assert_eq!(check("a.rs", UNFINISHED[0]), [format!("a.rs:1: holds `{}`", UNFINISHED[0])]);
        assert!(check("a.md", UNFINISHED[0]).is_empty());
    }
}
