//! Which of our crates may depend on which.

use anyhow::{Result, bail};

use crate::metadata::Metadata;

/// A crate of ours and those of ours that it may need; tests, benches and this crate are free.
///
/// Dependencies point one way: programs to `crates`. What runs on a device (`cumo-runtime` and
/// what is below it) holds no exporter code: neither checkpoints nor graph building.
const ALLOWED: [(&str, &[&str]); 10] = [
    ("cumo-bundle", &[]),
    ("cumo-checkpoint", &[]),
    ("cumo-onnx", &[]),
    ("cumo-plan", &["cumo-bundle", "cumo-results"]),
    ("cumo-processor", &["cumo-bundle"]),
    ("cumo-results", &[]),
    ("cumo-shared-object", &[]),
    ("cumo-tensorrt", &["cumo-shared-object"]),
    (
        "cumo-export",
        &[
            "cumo-bundle",
            "cumo-checkpoint",
            "cumo-onnx",
            "cumo-plan",
            "cumo-results",
            "cumo-shared-object",
            "cumo-tensorrt",
        ],
    ),
    (
        "cumo-runtime",
        &[
            "cumo-bundle",
            "cumo-plan",
            "cumo-processor",
            "cumo-results",
            "cumo-shared-object",
            "cumo-tensorrt",
        ],
    ),
];

/// Crates that no other crate may need.
const FREE: [&str; 4] = ["cumo-tests", "cumo-standin", "cumo-benches", "xtask"];

/// Whether a crate is one of tests and tools, which nothing that is shipped needs.
pub(crate) fn is_free(name: &str) -> bool {
    FREE.contains(&name)
}

/// Compares the workspace with the table.
///
/// # Errors
/// A dependency that the table does not allow, or a crate that it does not know.
pub(crate) fn check(metadata: &Metadata) -> Result<()> {
    let mut problems = Vec::new();
    for package in metadata.members() {
        let name = package.name.as_str();
        if is_free(name) {
            continue;
        }
        let Some((_, allowed)) = ALLOWED.iter().find(|(known, _)| *known == name) else {
            problems.push(format!("{name} is not in the table of layers (xtask/src/layers.rs)"));
            continue;
        };
        for dependency in metadata.dependencies(package) {
            let dependency_name = dependency.name.as_str();
            if metadata.is_member(dependency) && !allowed.contains(&dependency_name) {
                problems.push(format!("{name} must not depend on {dependency_name}"));
            }
        }
    }
    if !problems.is_empty() {
        bail!("dependencies:\n  {}", problems.join("\n  "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A workspace of two crates, the first of which needs the second.
    fn metadata(needing: &str, needed: &str, kind: &str) -> Metadata {
        let text = format!(
            r#"{{
                "packages": [
                    {{"id": "1", "name": "{needing}", "version": "0.1.0"}},
                    {{"id": "2", "name": "{needed}", "version": "0.1.0"}}
                ],
                "workspace_members": ["1", "2"],
                "resolve": {{"nodes": [
                    {{"id": "1", "deps": [{{"pkg": "2", "dep_kinds": [{{"kind": {kind}}}]}}]}},
                    {{"id": "2", "deps": []}}
                ]}}
            }}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn the_runtime_needs_no_exporter_code_but_its_tests_may() {
        let error = check(&metadata("cumo-runtime", "cumo-export", "null")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "dependencies:\n  cumo-runtime must not depend on cumo-export"
        );
        check(&metadata("cumo-runtime", "cumo-export", r#""dev""#)).unwrap();
        check(&metadata("cumo-runtime", "cumo-bundle", "null")).unwrap();
        check(&metadata("cumo-benches", "cumo-export", "null")).unwrap();
    }

    #[test]
    fn a_new_crate_must_be_given_its_layer() {
        let error = check(&metadata("cumo-new", "cumo-bundle", "null")).unwrap_err().to_string();
        assert!(error.contains("cumo-new is not in the table"), "{error}");
    }
}
