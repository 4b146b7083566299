//! The stand-in for TensorRT's shim is for tests: nothing that is shipped may load it.

use anyhow::{Result, bail};

use crate::layers;
use crate::metadata::Metadata;

/// The feature of `cumo-tensorrt` that loads it.
const FEATURE: &str = "stand-in";

/// Checks that no crate but those of tests turns the feature on, by itself or by one of its own
/// features.
///
/// # Errors
/// The crates that do.
pub(crate) fn check(metadata: &Metadata) -> Result<()> {
    let mut problems = Vec::new();
    for package in metadata.members().filter(|package| !layers::is_free(&package.name)) {
        let name = package.name.as_str();
        let shipped = package.dependencies.iter().filter(|it| it.kind.as_deref() != Some("dev"));
        for dependency in shipped {
            if dependency.features.iter().any(|feature| feature == FEATURE) {
                let needed = &dependency.name;
                problems.push(format!("{name} needs {needed} with the feature `{FEATURE}`"));
            }
        }
        for (feature, parts) in &package.features {
            if feature == "default" && parts.iter().any(|part| part == FEATURE) {
                problems.push(format!("{name} has the feature `{FEATURE}` by default"));
            }
            if parts.iter().any(|part| part.ends_with(&format!("/{FEATURE}"))) {
                problems.push(format!("{name}'s feature `{feature}` turns on `{FEATURE}`"));
            }
        }
    }
    if !problems.is_empty() {
        bail!("the stand-in is for tests alone:\n  {}", problems.join("\n  "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A workspace of one crate, with a dependency on `cumo-tensorrt` and features.
    fn metadata(name: &str, kind: &str, features: &str, own: &str) -> Metadata {
        let text = format!(
            r#"{{
                "packages": [{{
                    "id": "1", "name": "{name}", "version": "0.1.0", "features": {own},
                    "dependencies": [
                        {{"name": "cumo-tensorrt", "kind": {kind}, "features": {features}}}
                    ]
                }}],
                "workspace_members": ["1"],
                "resolve": {{"nodes": [{{"id": "1", "deps": []}}]}}
            }}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn no_program_turns_the_stand_in_on_and_tests_may() {
        let message = |name, kind, features, own| {
            check(&metadata(name, kind, features, own)).err().map(|error| error.to_string())
        };
        let on = r#"["stand-in"]"#;
        let found = message("cumo-runtime", "null", on, "{}").unwrap();
        assert!(found.ends_with("cumo-runtime needs cumo-tensorrt with the feature `stand-in`"));
        assert!(message("cumo-runtime", r#""build""#, on, "{}").is_some());
        assert_eq!(message("cumo-runtime", r#""dev""#, on, "{}"), None);
        assert_eq!(message("cumo-tests", "null", on, "{}"), None);
        assert_eq!(message("cumo-runtime", "null", "[]", r#"{"default": ["ort"]}"#), None);
        let own = r#"{"default": ["stand-in"], "stand-in": []}"#;
        assert!(message("cumo-tensorrt", "null", "[]", own).unwrap().contains("by default"));
        let own = r#"{"fast": ["cumo-tensorrt/stand-in"]}"#;
        assert!(message("cumo-export", "null", "[]", own).unwrap().contains("`fast` turns on"));
    }
}
