//! The steps that drive the programs, on the stand-in for TensorRT's shim: without a GPU they show
//! that command lines, readers and the table are as they must be. Times mean nothing.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::programs::Programs;
use super::table::{Outcome, Table};
use super::{golden_tokens, measurement, real_sizes, sample_answers};
use crate::workspace::Workspace;
use crate::{folder, test};

/// The stand-in's library, where cargo puts it beside the programs.
const LIBRARY: &str = "libcumo_standin.so";

/// Runs the steps with programs that were built for tests. `library`: ONNX Runtime's.
///
/// # Errors
/// A step fails, or the stand-in wrote down what a device would not forgive.
pub(crate) fn check(workspace: &Workspace, programs: &Path, library: &Path) -> Result<()> {
    let work = workspace.target.join("test/gpu");
    folder::empty(&work)?;
    let stand_in = work.join("stand-in");
    let variables = stand_in_variables(programs, &stand_in)?;
    let programs = Programs::on_stand_in(programs, &work, library, variables);
    let mut table = Table::default();
    steps(workspace, &programs, &mut table)?;
    let violations = fs::read_to_string(stand_in.join("violations.txt")).unwrap_or_default();
    println!("\n{}", table.markdown());
    verdict(&table, &violations)?;
    // Kept where something failed.
    folder::remove(&work)
}

fn steps(workspace: &Workspace, programs: &Programs, table: &mut Table) -> Result<()> {
    golden_tokens::check(workspace, programs, &test::goldens(workspace)?, table);
    let image = workspace.root.join("samples/shapes/images/000.png");
    if let Some(engines) = sample_answers::check(workspace, programs, table) {
        measurement::of_sample(programs, Ok(engines), &image, table);
    }
    real_sizes::two_layers(workspace, programs, table);
    real_sizes::whole(workspace, programs, table);
    Ok(())
}

/// Everything held, nothing was left out, and no rule of a device was broken.
fn verdict(table: &Table, violations: &str) -> Result<()> {
    if let Some(line) = violations.lines().next() {
        bail!(
            "a device would not forgive {} things; the first: {line}",
            violations.lines().count()
        );
    }
    let wrong = |outcome| !matches!(outcome, Outcome::Held | Outcome::Measured);
    let wrong: Vec<_> = table.rows.iter().filter(|row| wrong(row.outcome)).collect();
    if let Some(row) = wrong.first() {
        bail!(
            "{} rows did not hold; the first: {}, {}: {}",
            wrong.len(),
            row.name,
            row.outcome,
            row.figure
        );
    }
    match table.rows.is_empty() {
        true => bail!("no step gave a row"),
        false => Ok(()),
    }
}

/// Fills a folder that stands for TensorRT's, and gives the variables that lead programs there. Its
/// device shares the host's memory, so that weights can be read in place.
fn stand_in_variables(programs: &Path, folder: &Path) -> Result<Vec<(&'static str, PathBuf)>> {
    let library = programs.join(LIBRARY);
    if !library.is_file() {
        bail!("{} is not there: cargo build --workspace", library.display());
    }
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let plugin = folder.join("libcumo_plugin.so");
    for link in [&folder.join("libcumo_trt_rtx.so"), &plugin] {
        symlink(&library, link).with_context(|| link.display().to_string())?;
    }
    let settings = folder.join("stand-in.json");
    fs::write(&settings, r#"{"device": {"is_integrated": true}}"#)
        .with_context(|| settings.display().to_string())?;
    Ok(vec![
        ("CUMO_TRT_SHIM", folder.to_owned()),
        ("CUMO_TRT_LIBRARY", folder.to_owned()),
        ("CUMO_TRT_PLUGIN", plugin),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_may_be_wrong_or_left_out() {
        let verdict = |outcome, violations| {
            let mut table = Table::default();
            table.add("first", Outcome::Held, "1");
            table.add("second", outcome, "2");
            verdict(&table, violations).map_err(|error| error.to_string())
        };
        assert_eq!(verdict(Outcome::Measured, ""), Ok(()));
        let error = verdict(Outcome::Skipped, "").unwrap_err();
        assert_eq!(error, "1 rows did not hold; the first: second, skipped: 2");
        verdict(Outcome::Failed, "").unwrap_err();
        verdict(Outcome::Tie, "").unwrap_err();
        let error = verdict(Outcome::Held, "read before written\n").unwrap_err();
        assert!(error.ends_with("the first: read before written"), "{error}");
        super::verdict(&Table::default(), "").unwrap_err();
    }

    #[test]
    fn a_stand_in_that_was_not_built_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let error = stand_in_variables(folder.path(), &folder.path().join("x")).unwrap_err();
        assert!(error.to_string().contains("libcumo_standin.so is not there"), "{error}");
    }
}
