//! Builds everything that the parts run.

use std::time::Instant;

use anyhow::Result;

use super::card::{self, Card};
use super::table::{Outcome, Table};
use super::{built, crates, native};
use crate::workspace::Workspace;

/// Builds for the machine's cards, and adds a row a step.
///
/// Needs no network where `setup --tensorrt` was run before, or CUDA and TensorRT are installed;
/// what cannot be had is a skipped line with the reason.
pub(super) fn for_cards(workspace: &Workspace, cards: &[Card], table: &mut Table) {
    let code = |known: &[&str]| match cards {
        // For none: that it compiles is all that can be seen.
        [] if !card::may_be_there() => Some(vec![80]),
        cards => card::code_for_all(cards, known),
    };
    all(workspace, &code, table);
}

/// Builds for devices of these compute capabilities; by default for all that the kernels are for.
pub(super) fn for_code(workspace: &Workspace, devices: Option<&[u32]>, table: &mut Table) {
    let code = |known: &[&str]| {
        let code = devices?.iter().map(|device| card::code_for(*device, known));
        code.collect::<Option<Vec<u32>>>()
    };
    all(workspace, &code, table);
}

/// `code`: of what nvcc compiles for, what is compiled for; none: all that the kernels are for.
fn all(workspace: &Workspace, code: &dyn Fn(&[&str]) -> Option<Vec<u32>>, table: &mut Table) {
    crates::ensure(workspace, table);
    packages(workspace, table);
    step(table, "native/: kernels, plugin, shim", || {
        let known = native::known_code(workspace)?;
        let known: Vec<_> = known.iter().map(String::as_str).collect();
        native::build_for_gpu(workspace, code(&known))
    });
    step(table, "cumo-export and cumo", || built::programs(workspace));
    step(table, "test of the goldens' engines", || built::engines_test(workspace));
    step(table, "benchmark of a mixture's engines", || built::mixture_bench(workspace));
}

/// NVIDIA's packages that are not here are fetched; without a network, what is installed has to do.
fn packages(workspace: &Workspace, table: &mut Table) {
    println!("== packages");
    if let Err(error) = native::setup(workspace) {
        let prepare = crates::PREPARE;
        let figure = format!("not all are here, and not to be fetched: {error:#}; {prepare}");
        table.add("packages", Outcome::Skipped, &figure);
    }
}

/// Runs a step that builds something; its time or its error is a row.
fn step(table: &mut Table, name: &str, work: impl FnOnce() -> Result<()>) {
    println!("== {name}");
    let start = Instant::now();
    match work() {
        Ok(()) => {
            let figure = format!("{:.0} s", start.elapsed().as_secs_f64());
            table.add(name, Outcome::Held, &figure);
        }
        Err(error) => table.add(name, Outcome::Failed, &format!("{error:#}")),
    }
}
