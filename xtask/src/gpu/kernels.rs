//! What `device_test` of `native/kernels` printed, as rows.

use std::process::Command;

use super::built::Built;
use super::table::{Outcome, Row, Table};
use crate::process::{self, TIME_IS_UP};
use crate::time_limit;
use crate::workspace::Workspace;

/// `device_test`'s exit statuses.
const TOO_SLOW: i32 = 4;
pub(super) const NO_DEVICE: i32 = 77;

/// The row that says whether the kernels are right.
pub(super) const CASES: &str = "cases of the kernels";

/// Runs every case of the kernels, and times them; rows.
pub(super) fn run(workspace: &Workspace, built: &Built, table: &mut Table) {
    println!("== {CASES}");
    if !built.device_test.is_file() {
        table.add(CASES, Outcome::Skipped, "native/ was not built");
        return;
    }
    let cases = workspace.root.join("native/emulation/cases.txt");
    // Line by line: what it has said when it is stopped, or crashes, is not lost.
    let mut test = match process::succeeds(Command::new("stdbuf").arg("--version")) {
        true => {
            let mut by_line = Command::new("stdbuf");
            by_line.arg("-oL").arg(&built.device_test);
            by_line
        }
        false => Command::new(&built.device_test),
    };
    match process::watch(test.arg(cases)) {
        Ok((text, status)) => table.extend(rows(&text, status)),
        Err(error) => table.add(CASES, Outcome::Failed, &format!("{error:#}")),
    }
}

/// The line that describes the card.
pub(super) fn description(text: &str) -> Option<&str> {
    text.lines().find(|line| line.contains(", compute capability "))
}

/// The card's rate as a run states it: `at most 64 TFLOP/s`.
pub(super) fn tensor_tflops(text: &str) -> Option<f64> {
    let line = description(text)?;
    let rate = line.split("at most ").nth(1)?.split(" TFLOP/s").next()?.parse::<f64>().ok()?;
    Some(rate).filter(|rate| *rate > 0.0 && rate.is_finite())
}

/// The rate of the card's memory in GB/s as a run states it: `at most 64 TFLOP/s, 288 GB/s`.
pub(super) fn memory_gbs(text: &str) -> Option<f64> {
    let line = description(text)?;
    let rate = line.split(" TFLOP/s, ").nth(1)?.split(" GB/s").next()?.parse::<f64>().ok()?;
    Some(rate).filter(|rate| *rate > 0.0 && rate.is_finite())
}

/// The rows of a run, by its standard output and exit status.
pub(super) fn rows(text: &str, status: i32) -> Vec<Row> {
    if status == NO_DEVICE {
        let why = text.lines().find(|line| line.starts_with("skipped")).unwrap_or("no device");
        return vec![
            Row::new(CASES, Outcome::Skipped, why),
            Row::new("times of the kernels", Outcome::Skipped, why),
        ];
    }
    let checks = text.lines().find(|line| line.ends_with(" failed") && line.contains(" checks, "));
    let cases = match checks {
        Some(line) if line.ends_with(", 0 failed") => (Outcome::Held, line.to_owned()),
        Some(line) => (Outcome::Failed, line.to_owned()),
        None => (Outcome::Failed, ended(status)),
    };
    let mut rows = vec![Row::new(CASES, cases.0, &cases.1)];
    rows.extend(text.lines().filter_map(time));
    rows.extend(text.lines().filter_map(cache_rows));
    match status {
        0 => rows.push(Row::new(AIMS, Outcome::Held, AIM)),
        TOO_SLOW => rows.push(Row::new(AIMS, Outcome::Failed, AIM)),
        _ if cases.0 == Outcome::Held => {
            rows.push(Row::new("times of the kernels", Outcome::Failed, &ended(status)));
        }
        _ => {}
    }
    rows
}

fn ended(status: i32) -> String {
    match status {
        TIME_IS_UP => format!("device_test was stopped: {}", time_limit::OVER),
        status => format!("device_test ended with status {status}"),
    }
}

const AIMS: &str = "aims at clip, 5770 rows";
const AIM: &str = "at most 0.6 of dense, at least 60 % of the tensor cores' rate";

/// A line of the table of times: size, tiles, milliseconds, TFLOP/s, share of the card's, dense
/// milliseconds, ratio, GB/s.
fn time(line: &str) -> Option<Row> {
    let cells: Vec<_> = line.strip_prefix("| ")?.split('|').map(str::trim).collect();
    let (size, cells) = cells.split_first()?;
    let name = format!("mixture, {size}");
    match cells {
        ["tiles", ..] => None,
        [tiles, ms, tflops, share, dense, ratio, gbytes, ""] => {
            let figure = format!(
                "{ms} ms, {tflops} TFLOP/s, {share} of the card's; all experts {dense} ms, ratio \
                 {ratio}; weights {gbytes} GB/s; tiles {tiles}"
            );
            Some(Row::new(&name, Outcome::Measured, &figure))
        }
        [why, ""] if why.starts_with("skipped") => Some(Row::new(&name, Outcome::Skipped, why)),
        [.., why, ""] => Some(Row::new(&name, Outcome::Failed, why)),
        _ => None,
    }
}

/// A line of the times of rows that go into caches: `rows into caches: SIZE: FIGURE`.
fn cache_rows(line: &str) -> Option<Row> {
    let (size, figure) = line.strip_prefix("rows into caches: ")?.split_once(": ")?;
    let outcome = match figure {
        "failed" => Outcome::Failed,
        skipped if skipped.starts_with("skipped") => Outcome::Skipped,
        _ => Outcome::Measured,
    };
    Some(Row::new(&format!("rows into caches, {size}"), outcome, figure))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
Some Card, compute capability 8.6, 26 multiprocessors, at most 64 TFLOP/s, 288 GB/s
1234 checks, 0 failed
| size                 | tiles |        ms | TFLOP/s | of max. |  dense ms | ratio |    GB/s |
|---|---|---|---|---|---|---|---|
| clip, 577 rows       |  2  2 |    0.3021 |    64.1 |  50.3 % |    0.5900 |  0.51 |     111 |
| clip, 5770 rows      |  1  1 | failed |
| mixtral, 1024 tokens | skipped: not enough device memory |
rows into caches: mistral, 1 token: 64 as one graph 0.1200 ms, 2.2 GB/s; copies 0.1300 ms
rows into caches: mistral, 1024 tokens: failed
";

    #[test]
    fn every_size_is_a_row() {
        let rows = rows(TEXT, 4);
        let outcomes: Vec<_> = rows.iter().map(|row| (row.name.as_str(), row.outcome)).collect();
        let want = [
            ("cases of the kernels", Outcome::Held),
            ("mixture, clip, 577 rows", Outcome::Measured),
            ("mixture, clip, 5770 rows", Outcome::Failed),
            ("mixture, mixtral, 1024 tokens", Outcome::Skipped),
            ("rows into caches, mistral, 1 token", Outcome::Measured),
            ("rows into caches, mistral, 1024 tokens", Outcome::Failed),
            (AIMS, Outcome::Failed),
        ];
        assert_eq!(outcomes, want);
        assert!(rows[1].figure.starts_with("0.3021 ms, 64.1 TFLOP/s, 50.3 % of the card's"));
        assert_eq!(rows[4].figure, "64 as one graph 0.1200 ms, 2.2 GB/s; copies 0.1300 ms");
    }

    #[test]
    fn the_cards_rate_is_read() {
        assert_eq!(tensor_tflops(TEXT), Some(64.0));
        assert_eq!(memory_gbs(TEXT), Some(288.0));
        assert_eq!(memory_gbs("card, compute capability 8.6, at most 64 TFLOP/s, 0 GB/s"), None);
        assert_eq!(memory_gbs("skipped: no device"), None);
        assert_eq!(
            tensor_tflops("card, compute capability 8.6, at most 0 TFLOP/s, 288 GB/s"),
            None
        );
        assert_eq!(tensor_tflops("skipped: no device"), None);
    }

    #[test]
    fn a_wrong_case_a_crash_and_no_device_are_told_apart() {
        let wrong = rows("12 checks, 2 failed\n", 1);
        assert_eq!(
            wrong,
            [Row::new("cases of the kernels", Outcome::Failed, "12 checks, 2 failed")]
        );
        let crash = rows("", -1);
        assert_eq!((crash.len(), crash[0].outcome), (1, Outcome::Failed));
        let late = rows("12 checks, 0 failed\n", -1);
        assert_eq!((late.len(), late[1].outcome), (2, Outcome::Failed));
        let stopped = rows("12 checks, 0 failed\n", TIME_IS_UP);
        assert_eq!(stopped[1].figure, "device_test was stopped: its time was up");
        let none = rows("skipped: no device (no driver)\n", NO_DEVICE);
        assert!(none.iter().all(|row| row.outcome == Outcome::Skipped), "{none:?}");
        assert_eq!(none[0].figure, "skipped: no device (no driver)");
    }
}
