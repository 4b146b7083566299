//! Licences of everything in the lock file, and the number of packages that the runtime brings.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use spdx::{Expression, LicenseReq};

use crate::metadata::{Metadata, Package};
use crate::workspace::Workspace;

/// Licences whose terms an Apache-2.0 program can meet by shipping their texts.
const ALLOWED: [&str; 10] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Zlib",
];

/// Packages that the runtime may bring to a device, all platforms counted.
const RUNTIME_PACKAGES: usize = 200;

/// Checks every package of the lock file; prints licences, duplicates and the runtime's share.
///
/// # Errors
/// A package without a licence or with one that is not allowed, or too many under the runtime.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let metadata = Metadata::read(workspace)?;
    let others: Vec<_> = metadata.packages.iter().filter(|p| !metadata.is_member(p)).collect();
    let mut counts = BTreeMap::<&str, usize>::new();
    let mut problems = Vec::new();
    for package in &others {
        match judge(package.license.as_deref()) {
            Ok(expression) => *counts.entry(expression).or_default() += 1,
            Err(problem) => problems.push(format!("{} {problem}", describe(package))),
        }
    }
    println!("{} packages in the lock file besides ours", others.len());
    for (expression, count) in counts {
        println!("  {count:4}  {expression}");
    }
    for (name, versions) in duplicates(&others) {
        println!("  twice: {name} {}", versions.join(", "));
    }
    if let Some(runtime) = metadata.members().find(|package| package.name == "cumo-runtime") {
        let count = metadata.closure(runtime).len();
        println!("{count} packages below cumo-runtime, at most {RUNTIME_PACKAGES}");
        if count > RUNTIME_PACKAGES {
            problems.push(format!("cumo-runtime needs {count} packages, over {RUNTIME_PACKAGES}"));
        }
    }
    if !problems.is_empty() {
        bail!("licences:\n  {}", problems.join("\n  "));
    }
    Ok(())
}

fn describe(package: &Package) -> String {
    let file = package.license_file.as_ref().map(|file| format!(" ({})", file.display()));
    format!("{} {}{}:", package.name, package.version, file.unwrap_or_default())
}

/// The expression, where the allowed licences satisfy it.
fn judge(expression: Option<&str>) -> Result<&str, String> {
    let text = expression.ok_or("no licence expression")?;
    // Old manifests write `MIT/Apache-2.0`.
    let parsed = Expression::parse_mode(text, spdx::ParseMode::LAX)
        .map_err(|error| format!("`{text}` is no SPDX expression: {}", error.reason))?;
    if parsed.evaluate(is_allowed) { Ok(text) } else { Err(format!("`{text}` is not allowed")) }
}

/// Exceptions only add permissions, so `Apache-2.0 WITH LLVM-exception` is allowed with Apache-2.0.
fn is_allowed(requirement: &LicenseReq) -> bool {
    requirement.license.id().is_some_and(|id| ALLOWED.contains(&id.name))
}

/// Names that stand in the lock file with more than one version.
fn duplicates<'a>(packages: &[&'a Package]) -> BTreeMap<&'a str, Vec<&'a str>> {
    let mut versions = BTreeMap::<&str, Vec<&str>>::new();
    for package in packages {
        versions.entry(&package.name).or_default().push(&package.version);
    }
    versions.retain(|_, versions| versions.len() > 1);
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allows_what_can_be_met() {
        for text in ["MIT", "MIT OR GPL-3.0", "MIT/Apache-2.0", "MIT AND Unicode-3.0"] {
            assert_eq!(judge(Some(text)), Ok(text));
        }
        assert!(judge(Some("Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT")).is_ok());
    }

    #[test]
    fn refuses_what_cannot() {
        assert_eq!(judge(None), Err("no licence expression".to_owned()));
        assert_eq!(judge(Some("GPL-3.0")), Err("`GPL-3.0` is not allowed".to_owned()));
        assert!(judge(Some("MIT AND GPL-3.0")).is_err());
        assert!(judge(Some("as you like")).unwrap_err().contains("is no SPDX expression"));
    }
}
