//! Checks of the repository that no compiler makes.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::metadata::Metadata;
use crate::workspace::Workspace;
use crate::{layers, process};

/// The largest file that is kept without being named below.
const MAX_BYTES: u64 = 2_000_000;

/// Files that may be larger: the sample's trained weights.
const LARGE: [&str; 1] = ["samples/shapes/checkpoint/"];

/// Text files are searched up to this size.
const MAX_TEXT_BYTES: u64 = 500_000;

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
    let mut problems = Vec::new();
    for file in &files {
        check_file(workspace, file, &mut problems)?;
    }
    if !problems.is_empty() {
        bail!("tidy:\n  {}", problems.join("\n  "));
    }
    layers::check(&Metadata::read(workspace)?)?;
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

fn check_file(workspace: &Workspace, file: &str, problems: &mut Vec<String>) -> Result<()> {
    let path = workspace.root.join(file);
    let Ok(metadata) = fs::symlink_metadata(&path) else { return Ok(()) };
    if !metadata.is_file() {
        return Ok(());
    }
    let bytes = metadata.len();
    if bytes > MAX_BYTES && !LARGE.iter().any(|large| file.starts_with(large)) {
        problems.push(format!("{file}: {bytes} bytes, over {MAX_BYTES}"));
    }
    if bytes <= MAX_TEXT_BYTES {
        let content = fs::read(&path).with_context(|| path.display().to_string())?;
        if let Ok(text) = String::from_utf8(content) {
            let words = Words::of_this_machine(&workspace.root);
            words.check(file, &text, problems);
        }
    }
    Ok(())
}

/// What no file may hold.
struct Words {
    /// Paths of the machine that this runs on: what a script wrote, or a hand copied.
    machine: Vec<String>,
}

impl Words {
    fn of_this_machine(root: &Path) -> Self {
        let home = std::env::var("HOME").ok().filter(|home| home.len() > 1);
        let folders = [Some(root.display().to_string()), home];
        Words {
            machine: folders.into_iter().flatten().map(|folder| format!("{folder}/")).collect(),
        }
    }

    fn check(&self, file: &str, text: &str, problems: &mut Vec<String>) {
        let code = [".rs", ".py", ".sh"].iter().any(|extension| file.ends_with(extension));
        for (line, content) in (1..).zip(text.lines()) {
            if let Some(path) = self.machine.iter().find(|path| content.contains(path.as_str())) {
                problems.push(format!("{file}:{line}: holds `{path}`, a path of this machine"));
            }
            if let Some(word) = UNFINISHED.iter().find(|word| code && content.contains(**word)) {
                problems.push(format!("{file}:{line}: holds `{word}`"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(file: &str, text: &str) -> Vec<String> {
        let words = Words { machine: vec!["/home/someone/".to_owned()] };
        let mut problems = Vec::new();
        words.check(file, text, &mut problems);
        problems
    }

    #[test]
    fn finds_paths_of_this_machine_with_their_line() {
        let problems = check("a.md", "one\nsee /home/someone/model\n");
        assert_eq!(problems, ["a.md:2: holds `/home/someone/`, a path of this machine"]);
        assert!(check("a.md", "see /home/else/model").is_empty());
    }

    #[test]
    fn finds_unfinished_work_in_code_only() {
        assert_eq!(check("a.rs", UNFINISHED[0]), [format!("a.rs:1: holds `{}`", UNFINISHED[0])]);
        assert!(check("a.md", UNFINISHED[0]).is_empty());
    }
}
