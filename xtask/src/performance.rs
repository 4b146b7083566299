//! `cargo xtask bench-readme`: README's section on performance, made from `benches/results/*.json`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use cumo_results::render::overview_markdown;
use cumo_results::{BenchResult, write_whole};

use crate::workspace::Workspace;

const BEGIN: &str = "<!-- performance: made by `cargo xtask bench-readme` from benches/results -->";
const END: &str = "<!-- performance: end -->";

/// Writes the section.
///
/// # Errors
/// A result cannot be read, or README has no place for it.
pub(crate) fn write(workspace: &Workspace) -> Result<()> {
    let path = workspace.root.join("README.md");
    let readme = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let results = results(workspace)?;
    write_whole(&path, replaced(&readme, &section(&results))?.as_bytes())?;
    println!("README.md: {} results", results.len());
    Ok(())
}

/// Checks that the section is what the results say.
///
/// # Errors
/// It is not, or a result cannot be read.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let path = workspace.root.join("README.md");
    let readme = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let results = results(workspace)?;
    if replaced(&readme, &section(&results))? != readme {
        bail!("README.md is not what benches/results says; `cargo xtask bench-readme` renews it");
    }
    println!("{} results", results.len());
    Ok(())
}

/// Every result that is kept, by its file's name.
fn results(workspace: &Workspace) -> Result<Vec<(String, BenchResult)>> {
    let folder = workspace.root.join("benches/results");
    let mut files: Vec<PathBuf> = match fs::read_dir(&folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error).with_context(|| folder.display().to_string()),
    };
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let named = |file: &PathBuf| {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok((name, BenchResult::read(file)?))
    };
    files.iter().map(named).collect()
}

fn section(results: &[(String, BenchResult)]) -> String {
    match results {
        [] => "No result is kept yet.\n".to_owned(),
        results => overview_markdown(results),
    }
}

/// The text with another section between the marks.
fn replaced(readme: &str, section: &str) -> Result<String> {
    let parts = readme.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some((before, after))
    });
    let (before, after) =
        parts.with_context(|| format!("README.md has no lines `{BEGIN}` and `{END}`"))?;
    Ok(format!("{before}{BEGIN}\n\n{section}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_section_is_replaced_between_its_marks() {
        let readme = format!("# A\n{BEGIN}\nold\n{END}\nmore\n");
        let new = replaced(&readme, "| new |\n").unwrap();
        assert_eq!(new, format!("# A\n{BEGIN}\n\n| new |\n\n{END}\nmore\n"));
        assert_eq!(replaced(&new, "| new |\n").unwrap(), new);
        assert!(replaced("# A\n", "x").unwrap_err().to_string().contains("has no lines"));
        assert!(replaced(&format!("{END}\n{BEGIN}\n"), "x").is_err());
    }

    #[test]
    fn without_results_the_section_says_so() {
        assert_eq!(section(&[]), "No result is kept yet.\n");
        let kept = [("cpu".to_owned(), BenchResult::default())];
        assert!(section(&kept).contains("| cpu "));
    }
}
