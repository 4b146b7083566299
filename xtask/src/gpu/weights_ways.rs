//! Whether it matters how weights reach the products: as inputs of the engines, as constants in
//! them, or read where the file is mapped.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use cumo_results::BenchResult;
use cumo_results::schema::FirstToken;
use cumo_results::statistics::percentile;

use super::measurement::{Subject, measure};
use super::programs::Programs;
use super::table::{Outcome, Row, Table};
use crate::{folder, process};

/// Measures a bundle's engines each way, and compares with inputs that were copied to the device.
/// `engine`, `bench`: further options of `cumo-export engine` and `cumo bench`.
pub(super) fn check(
    programs: &Programs,
    name: &str,
    bundle: &Path,
    (engine, bench): (&[&str], &[&str]),
    table: &mut Table,
) {
    let inputs = build(programs, name, bundle, engine, table);
    let Some(inputs) = inputs else { return };
    let subject = Subject { name, engines: &inputs, options: bench };
    let Some(base) = measure(programs, &subject, table) else { return };

    if programs.effort.has_constants() {
        let constant = format!("{name}, constants");
        let options: Vec<_> = engine.iter().copied().chain(["--weights", "const"]).collect();
        if let Some(engines) = build(programs, &constant, bundle, &options, table) {
            let subject = Subject { name: &constant, engines: &engines, options: bench };
            if let Some(file) = measure(programs, &subject, table) {
                compare(programs, &constant, &base, &file, table);
            }
            // They hold the weights once more.
            drop(folder::remove(&engines));
        }
    }

    let in_place = format!("{name}, in place");
    if !programs.device.as_ref().is_some_and(|device| device.is_integrated) {
        let why = "for devices that share the host's memory, which this one does not";
        table.push(Row::engine(&in_place, Outcome::Skipped, why));
        return;
    }
    let options: Vec<_> = bench.iter().copied().chain(["--weights-in-place"]).collect();
    let subject = Subject { name: &in_place, engines: &inputs, options: &options };
    if let Some(file) = measure(programs, &subject, table) {
        compare(programs, &in_place, &base, &file, table);
    }
}

fn build(
    programs: &Programs,
    name: &str,
    bundle: &Path,
    options: &[&str],
    table: &mut Table,
) -> Option<PathBuf> {
    println!("== engines of {name}");
    let engines = programs.engines(bundle, name, options);
    if let Err(error) = &engines {
        let name = format!("engines of {name}");
        table.push(Row::engine(&name, Outcome::Failed, &format!("{error:#}")));
    }
    engines.ok()
}

/// Adds how long stages take, over `base`.
fn compare(programs: &Programs, name: &str, base: &Path, file: &Path, table: &mut Table) {
    let figure = ratios(base, file).and_then(|figure| {
        // With intervals, for the log. That one way is slower, 1, is no failure.
        let mut compare = programs.program("cumo");
        compare.args(["bench", "compare"]).arg(base).arg(file).args(["--format", "md"]);
        match process::watch(&mut compare)? {
            (_, 0 | 1) => Ok(figure),
            (_, status) => bail!("`cumo bench compare` ended with status {status}"),
        }
    });
    let (outcome, figure) = match figure {
        Ok(figure) => (Outcome::Measured, figure),
        Err(error) => (Outcome::Failed, format!("{error:#}")),
    };
    table.push(Row::engine(&format!("{name}, against inputs"), outcome, &figure));
}

fn ratios(base: &Path, file: &Path) -> Result<String> {
    let [base, file] = [BenchResult::read(base)?, BenchResult::read(file)?];
    let mut ratios = Vec::new();
    for ((stage, base), (_, other)) in medians(&base).into_iter().zip(medians(&file)) {
        if let (Some(base), Some(other)) = (base.filter(|base| *base > 0.0), other) {
            ratios.push(format!("{stage} {:.3}", other / base));
        }
    }
    let text = (!ratios.is_empty()).then(|| format!("{} times as long", ratios.join(", ")));
    text.context("the results have no stage in common")
}

/// Medians of what is compared, in nanoseconds.
fn medians(result: &BenchResult) -> [(&'static str, Option<f64>); 4] {
    let first = result.answers.iter().map(|answer| &answer.first_token);
    // Engines with constants have the connector in the tower's.
    let image = |first: &FirstToken| Some(first.vision_ns? + first.connector_ns.unwrap_or(0));
    let prompts = result.prefill.iter().filter(|row| row.depth_tokens == 0);
    let tokens = result.generation.iter().filter(|row| row.depth_tokens == 0);
    let tokens = tokens.flat_map(|row| row.repetitions_inter_token_ns.iter().flatten());
    [
        ("vision and connector", median(first.clone().filter_map(image))),
        ("time to first token", median(first.map(|first| first.total_ns))),
        ("prompt", median(prompts.flat_map(|row| row.repetitions_ns.iter().copied()))),
        ("token", median(tokens.copied())),
    ]
}

fn median(samples: impl Iterator<Item = u64>) -> Option<f64> {
    let mut sorted: Vec<f64> = samples.map(|ns| ns as f64).collect();
    sorted.sort_by(f64::total_cmp);
    percentile(&sorted, 50.0)
}

#[cfg(test)]
mod tests {
    use cumo_results::schema::{Answer, Generation, Prefill};

    use super::*;

    fn result(scale: u64) -> BenchResult {
        let first_token = FirstToken {
            total_ns: 100 * scale,
            vision_ns: Some(7 * scale),
            connector_ns: Some(3 * scale),
            ..FirstToken::default()
        };
        let row = |depth_tokens, ns| Generation {
            tokens: 2,
            depth_tokens,
            repetitions_inter_token_ns: vec![vec![ns, ns]],
        };
        BenchResult {
            answers: vec![Answer { first_token, inter_token_ns: vec![1] }],
            prefill: vec![Prefill { tokens: 64, depth_tokens: 0, repetitions_ns: vec![40] }],
            generation: vec![row(0, 4 * scale), row(1024, 7)],
            ..BenchResult::default()
        }
    }

    #[test]
    fn medians_are_of_an_empty_cache() {
        let want = [Some(10.0), Some(100.0), Some(40.0), Some(4.0)];
        assert_eq!(medians(&result(1)).map(|(_, median)| median), want);
        assert!(medians(&BenchResult::default()).iter().all(|(_, median)| median.is_none()));
    }

    #[test]
    fn ratios_are_the_others_time_over_that_of_inputs() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, result: &BenchResult| {
            let file = folder.path().join(name);
            std::fs::write(&file, serde_json::to_string(result).unwrap()).unwrap();
            file
        };
        let (base, other) = (write("a", &result(1)), write("b", &result(2)));
        let text = ratios(&base, &other).unwrap();
        let want = "vision and connector 2.000, time to first token 2.000, prompt 1.000, token \
                    2.000 times as long";
        assert_eq!(text, want);
        let empty = write("c", &BenchResult::default());
        ratios(&base, &empty).unwrap_err();
        ratios(&base, &folder.path().join("none")).unwrap_err();
    }
}
