//! The table of what ran on the device.

use std::fmt;

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
}

impl Table {
    pub(super) fn add(&mut self, name: &str, outcome: Outcome, figure: &str) {
        self.rows.push(Row::new(name, outcome, figure));
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
