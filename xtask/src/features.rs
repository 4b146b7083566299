//! What the runtime brings onto a device, with both of its backends and with one of them.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

use crate::process;
use crate::workspace::Workspace;

/// The most packages that `cumo` may be made of, itself among them.
const MOST_PACKAGES: usize = 200;

/// Crates of the exporter, none of which goes onto a device.
const EXPORTER: [&str; 3] = ["cumo-export", "cumo-checkpoint", "cumo-onnx"];

/// A backend's feature, and what may be there only with it.
const BACKENDS: [(&str, &[&str]); 2] =
    [("ort", &["ort", "ort-sys"]), ("tensorrt", &["cumo-tensorrt"])];

/// Checks the packages of `cumo`, and that it compiles with each backend alone.
///
/// # Errors
/// Every package that must not be there, or how many there are too many; what does not compile.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let mut problems = shared_problems(&packages(workspace, &[])?);
    for (feature, _) in BACKENDS {
        let alone = ["--no-default-features", "--features", feature];
        problems.extend(backend_problems(feature, &packages(workspace, &alone)?));
        let mut cargo = process::cargo();
        cargo.args(["clippy", "--locked", "-p", "cumo-runtime"]).args(alone);
        process::run(cargo.args(["--", "-D", "warnings"]).current_dir(&workspace.root))?;
    }
    match problems.is_empty() {
        true => Ok(()),
        false => bail!("cumo-runtime:\n  {}", problems.join("\n  ")),
    }
}

/// Names and versions of the packages that `cumo` is made of.
fn packages(workspace: &Workspace, features: &[&str]) -> Result<BTreeSet<String>> {
    let mut cargo = process::cargo();
    cargo.args(["tree", "--locked", "-p", "cumo-runtime", "--edges", "normal", "--prefix", "none"]);
    let text = process::read(cargo.args(features).current_dir(&workspace.root))?;
    // `name v1.2.3 (path) (*)`, where the last is for those that were listed before.
    let package = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    Ok(text.lines().filter(|line| !line.is_empty()).map(package).collect())
}

fn has(packages: &BTreeSet<String>, name: &str) -> bool {
    packages.iter().any(|package| package.split(' ').next() == Some(name))
}

fn shared_problems(packages: &BTreeSet<String>) -> Vec<String> {
    let of_exporter = EXPORTER.into_iter().filter(|name| has(packages, name));
    let mut problems: Vec<_> =
        of_exporter.map(|name| format!("{name} is the exporter's")).collect();
    if packages.len() > MOST_PACKAGES {
        let count = packages.len();
        problems.push(format!("{count} packages, the most that may be are {MOST_PACKAGES}"));
    }
    problems
}

/// What is there with one backend alone that is the other's.
fn backend_problems(feature: &str, packages: &BTreeSet<String>) -> Vec<String> {
    let others = BACKENDS.iter().filter(|(other, _)| *other != feature);
    let foreign = others.flat_map(|(_, crates)| crates.iter());
    foreign
        .filter(|name| has(packages, name))
        .map(|name| format!("{name} is there with `--no-default-features --features {feature}`"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packages(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| format!("{name} v1.0.0")).collect()
    }

    #[test]
    fn exporter_code_and_too_many_packages_are_found() {
        assert!(shared_problems(&packages(&["cumo-runtime", "ort", "cumo-bundle"])).is_empty());
        let found = shared_problems(&packages(&["cumo-runtime", "cumo-onnx"]));
        assert_eq!(found, ["cumo-onnx is the exporter's"]);
        let many: Vec<String> = (0..201).map(|index| format!("p{index}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(
            shared_problems(&packages(&many)),
            ["201 packages, the most that may be are 200"]
        );
    }

    #[test]
    fn a_backend_brings_its_own_and_not_the_others() {
        let one = packages(&["ort", "ort-sys", "cumo-runtime"]);
        assert!(backend_problems("ort", &one).is_empty());
        assert_eq!(backend_problems("tensorrt", &one).len(), 2);
        let found = backend_problems("ort", &packages(&["cumo-tensorrt"]));
        let says = "cumo-tensorrt is there with `--no-default-features --features ort`";
        assert_eq!(found, [says]);
    }
}
