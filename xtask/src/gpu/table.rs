//! The table of what ran on the device.

use std::path::PathBuf;
use std::{fmt, fs};

/// What became of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It ran and is right, or was built.
    Held,
    /// It ran and is wrong, or failed.
    Failed,
    /// It ran and gave the next best, where the original's experts are as good as equal; the figure
    /// has the margin.
    Tie,
    /// A figure that is held to nothing.
    Measured,
    /// It was built and did not run, as there is no device.
    NotRun,
    /// It did not run; the figure says why.
    Skipped,
}

impl Outcome {
    /// What it is called where engines could not run: on no device they were built only; a device
    /// that they are not for is passed over.
    pub(super) fn of_obstacle(has_device: bool) -> Outcome {
        if has_device { Outcome::Skipped } else { Outcome::NotRun }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Held => "held",
            Outcome::Failed => "FAILED",
            Outcome::Tie => "TIE",
            Outcome::Measured => "measured",
            Outcome::NotRun => "not run",
            Outcome::Skipped => "skipped",
        })
    }
}

/// A line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) outcome: Outcome,
    pub(super) figure: String,
    /// Whether it is of what ran, or was to run, through TensorRT's engines.
    pub(super) is_engine: bool,
}

impl Row {
    pub(super) fn new(name: &str, outcome: Outcome, figure: &str) -> Row {
        // One line, and no bar that would look like a column's end.
        let figure = figure.split(['\n', '|']).map(str::trim).collect::<Vec<_>>().join("; ");
        Row { name: name.to_owned(), outcome, figure, is_engine: false }
    }

    /// A row of what runs through TensorRT's engines.
    pub(super) fn engine(name: &str, outcome: Outcome, figure: &str) -> Row {
        Row { is_engine: true, ..Row::new(name, outcome, figure) }
    }
}

/// Lines in the order in which they came about.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) rows: Vec<Row>,
    /// What is written above the rows, a line each.
    pub(super) head: Vec<String>,
    /// Where the table is written, anew with every row: what was seen is kept whatever comes.
    pub(super) file: Option<PathBuf>,
}

impl Table {
    pub(super) fn add(&mut self, name: &str, outcome: Outcome, figure: &str) {
        self.push(Row::new(name, outcome, figure));
    }

    pub(super) fn push(&mut self, row: Row) {
        println!("-> {}: {}: {}", row.name, row.outcome, row.figure);
        self.rows.push(row);
        self.keep();
    }

    pub(super) fn extend(&mut self, rows: impl IntoIterator<Item = Row>) {
        rows.into_iter().for_each(|row| self.push(row));
    }

    /// Names the file, and writes what is there already.
    pub(super) fn keep_in(&mut self, file: PathBuf) {
        self.file = Some(file);
        self.keep();
    }

    fn keep(&self) {
        let Some(file) = &self.file else { return };
        if let Err(error) = fs::write(file, self.text()) {
            eprintln!("cannot write {}: {error}", file.display());
        }
    }

    /// The table as it is printed and kept.
    pub(super) fn text(&self) -> String {
        let head: String = self.head.iter().map(|line| format!("- {line}\n")).collect();
        format!("# cargo xtask gpu\n\n{head}\n{}", self.markdown())
    }

    /// Whether nothing failed.
    pub(super) fn holds(&self) -> bool {
        self.rows.iter().all(|row| row.outcome != Outcome::Failed)
    }

    /// Markdown, its columns aligned.
    pub(super) fn markdown(&self) -> String {
        let head = Row::new("what", Outcome::Held, "figure");
        let wide = self.rows.iter().chain([&head]).map(|row| row.name.chars().count()).max();
        let wide = wide.unwrap_or_default();
        let line = |name: &str, outcome: &str, figure: &str| {
            format!("| {name:wide$} | {outcome:8} | {figure} |\n")
        };
        let rows =
            self.rows.iter().map(|row| line(&row.name, &row.outcome.to_string(), &row.figure));
        let head = [line("what", "result", "figure"), "|---|---|---|\n".to_owned()];
        head.into_iter().chain(rows).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_written_when_it_comes_about() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("card.md");
        let mut table = Table { head: vec!["commit: abc".to_owned()], ..Table::default() };
        table.add("a", Outcome::Held, "1");
        table.keep_in(file.clone());
        let text = || fs::read_to_string(&file).unwrap();
        assert!(text().starts_with("# cargo xtask gpu\n\n- commit: abc\n\n| what"), "{}", text());
        assert!(text().contains("| a    | held     | 1 |\n"), "{}", text());
        table.extend([Row::engine("b", Outcome::Failed, "2")]);
        assert!(text().ends_with("| b    | FAILED   | 2 |\n"), "{}", text());
    }

    #[test]
    fn a_failure_is_a_failure_of_the_whole() {
        let mut table = Table::default();
        table.add("a", Outcome::Held, "1 s");
        table.add("b", Outcome::Skipped, "no\nlibrary");
        assert!(table.holds());
        table.add("long name", Outcome::Failed, "x | y");
        assert!(!table.holds());
        let want = "\
| what      | result   | figure |
|---|---|---|
| a         | held     | 1 s |
| b         | skipped  | no; library |
| long name | FAILED   | x; y |
";
        assert_eq!(table.markdown(), want);
    }
}
