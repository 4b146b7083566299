//! What runs through TensorRT's engines, in programs of their own that write rows.

use std::fs;
use std::process::Command;

use anyhow::Result;

use super::built::{Built, TESTS};
use super::table::{Outcome, Row, Table};
use crate::workspace::Workspace;
use crate::{onnxruntime, process};

/// Where such programs write their rows: the name of a file in this variable. A row is a line,
/// `name|result|figure`; results are `held`, `FAILED`, `not run` and `skipped`.
const ROWS: &str = "CUMO_GPU_ROWS";

/// The goldens' engines against ONNX Runtime: the test `device`, which gives a row an engine.
///
/// # Errors
/// There is no folder for temporary files.
pub(super) fn goldens(workspace: &Workspace, built: &Built, table: &mut Table) -> Result<()> {
    const NAME: &str = "engines of the goldens";
    println!("== {NAME}");
    let library = match onnxruntime::ensure(workspace) {
        Ok(library) => library,
        Err(error) => {
            let figure = format!("there is nothing to compare with: {error:#}");
            table.add(NAME, Outcome::Skipped, &figure);
            return Ok(());
        }
    };
    let mut test = Command::new(built.engines_test());
    // Of its tests the one for devices: the other is of the stand-in.
    test.args(["--exact", "engines_compute_what_onnx_runtime_does_on_their_twins"]);
    rows_of(workspace, built, NAME, test.env(onnxruntime::DYLIB_PATH, &library), table)
}

/// One mixture of experts as an engine, with the plugin and without: the benchmark `moe_engine`.
/// `tensor_tflops`: the card's rate, where it is known.
///
/// # Errors
/// There is no folder for temporary files.
pub(super) fn mixture(
    workspace: &Workspace,
    built: &Built,
    tensor_tflops: Option<f64>,
    table: &mut Table,
) -> Result<()> {
    const NAME: &str = "a mixture's engines";
    println!("== {NAME}");
    let mut bench = Command::new(built.mixture_bench());
    if let Some(rate) = tensor_tflops {
        bench.args(["--tensor-tflops", &rate.to_string()]);
    }
    rows_of(workspace, built, NAME, &mut bench, table)
}

/// Runs a program that writes rows, over the libraries that were built for the card, and takes its
/// rows; one of `name` says what became of the whole.
fn rows_of(
    workspace: &Workspace,
    built: &Built,
    name: &str,
    program: &mut Command,
    table: &mut Table,
) -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    program.current_dir(&workspace.root).env(ROWS, file.path());
    program.env(TESTS, workspace.root.join("tests"));
    if built.shim.is_dir() {
        program.env("CUMO_TRT_SHIM", &built.shim);
    }
    let result = process::run(program);
    let rows = rows(&fs::read_to_string(file.path())?);
    table.push(whole(name, &rows, result.err().map(|error| format!("{error:#}"))));
    table.extend(rows);
    Ok(())
}

/// What a program wrote.
fn rows(text: &str) -> Vec<Row> {
    let row = |line: &str| {
        let mut fields = line.splitn(3, '|');
        let [name, result, figure] = [(); 3].map(|()| fields.next().unwrap_or_default());
        let outcome = match result {
            "held" => Outcome::Held,
            "not run" => Outcome::NotRun,
            "skipped" => Outcome::Skipped,
            _ => Outcome::Failed,
        };
        Row::engine(name, outcome, figure)
    };
    text.lines().map(row).collect()
}

/// The row before a program's own: failed where the program did, and held only where a row is.
fn whole(name: &str, rows: &[Row], error: Option<String>) -> Row {
    let count = |outcome| rows.iter().filter(|row| row.outcome == outcome).count();
    let (held, failed) = (count(Outcome::Held), count(Outcome::Failed));
    let (not_run, skipped) = (count(Outcome::NotRun), count(Outcome::Skipped));
    let figure = format!("{held} held, {failed} failed, {not_run} built only, {skipped} skipped");
    match error {
        Some(error) => Row::new(name, Outcome::Failed, &format!("{figure}; {error}")),
        None if rows.is_empty() => Row::new(name, Outcome::Failed, "it ended without a result"),
        None if failed > 0 => Row::new(name, Outcome::Failed, &figure),
        None if held > 0 => Row::new(name, Outcome::Held, &figure),
        None if not_run > 0 => Row::new(name, Outcome::NotRun, &figure),
        None => Row::new(name, Outcome::Skipped, &figure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_lines_and_an_unknown_result_has_failed() {
        let text = "a|held|1 ms\nb|not run|built | no device\nc|skipped|\nd|odd\n";
        let outcomes = [Outcome::Held, Outcome::NotRun, Outcome::Skipped, Outcome::Failed];
        let rows = rows(text);
        assert_eq!(rows.iter().map(|row| row.outcome).collect::<Vec<_>>(), outcomes);
        assert_eq!(rows[1].figure, "built; no device");
    }

    #[test]
    fn the_whole_is_held_only_where_something_is() {
        let outcome = |text: &str, error: Option<&str>| {
            whole("x", &rows(text), error.map(str::to_owned)).outcome
        };
        assert_eq!(outcome("a|held|\nb|skipped|\n", None), Outcome::Held);
        assert_eq!(outcome("a|held|\nb|FAILED|\n", None), Outcome::Failed);
        assert_eq!(outcome("a|held|\n", Some("`cargo` failed")), Outcome::Failed);
        assert_eq!(outcome("a|not run|\nb|skipped|\n", None), Outcome::NotRun);
        assert_eq!(outcome("a|skipped|\n", None), Outcome::Skipped);
        assert_eq!(outcome("", None), Outcome::Failed);
    }
}
