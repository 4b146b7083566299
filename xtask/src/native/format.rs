//! The style of C, C++ and CUDA in `native/`: clang-format's, by `native/.clang-format`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::packages;
use crate::process;
use crate::workspace::Workspace;

const EXTENSIONS: [&str; 5] = ["c", "cpp", "cu", "cuh", "h"];

/// Fails where a file is not as clang-format would write it.
///
/// # Errors
/// Names the places; or clang-format cannot be fetched.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let mut tool = tool(workspace)?;
    process::run(tool.args(["--dry-run", "-Werror", "--ferror-limit=5"]))
        .context("`cargo xtask format` writes them as they are to be")
}

/// Writes all files as clang-format has them.
///
/// # Errors
/// clang-format cannot be fetched, or fails.
pub(crate) fn write(workspace: &Workspace) -> Result<()> {
    process::run(tool(workspace)?.arg("-i"))
}

/// The pinned clang-format, fetched where it is missing, with all files to look at.
fn tool(workspace: &Workspace) -> Result<Command> {
    packages::ensure(workspace, &packages::CLANG_FORMAT)?;
    let program = workspace.native().join("clang-format/clang_format/data/bin/clang-format");
    let mut git = Command::new("git");
    git.args(["ls-files", "--cached", "--others", "--exclude-standard", "native"]);
    let listed = process::read(git.current_dir(&workspace.root))?;
    let mut tool = Command::new(program);
    // The names are a list of their own: a command line that is printed should be read.
    let list = list_file(workspace, &sources(&listed))?;
    tool.arg(format!("--files={}", list.display())).current_dir(&workspace.root);
    Ok(tool)
}

/// Files of C, C++ and CUDA among those that are listed.
fn sources(listed: &str) -> Vec<&str> {
    let extension = |file: &str| Path::new(file).extension()?.to_str().map(str::to_owned);
    let is_source = |file: &&str| {
        extension(file).is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()))
    };
    listed.lines().filter(is_source).collect()
}

/// Writes names, one a line, to a file of the build folder, those of files that are there.
fn list_file(workspace: &Workspace, files: &[&str]) -> Result<PathBuf> {
    let there = files.iter().filter(|file| workspace.root.join(file).is_file());
    let list: String = there.map(|file| format!("{file}\n")).collect();
    let path = workspace.target.join("clang-format-files.txt");
    std::fs::write(&path, list).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_told_by_their_extension() {
        let listed = "native/a.cu\nnative/b.cuh\nnative/c.py\nnative/.clang-format\nnative/d.h\n";
        assert_eq!(sources(listed), ["native/a.cu", "native/b.cuh", "native/d.h"]);
    }
}
