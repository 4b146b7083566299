//! `docs/bench.md` describes every field, and none that is not there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use crate::schema::BenchResult;
use crate::testing;

/// Fields of the page's tables, and whether they may be absent.
fn described() -> BTreeMap<String, bool> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/bench.md");
    let page = std::fs::read_to_string(page).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let fields = rows.map(|(field, rest)| {
        let kind = rest.split(" | ").next().unwrap_or_default();
        (field.to_owned(), kind.ends_with(", optional"))
    });
    fields.collect()
}

/// The page's name of a field: places of lists and names of parts are left out, and what has the
/// same fields in two places is described in one.
fn name(pointer: &str) -> String {
    let steps = pointer.split('/').skip(1).filter(|step| step.parse::<usize>().is_err());
    let name = steps.collect::<Vec<_>>().join(".").replace(".parts.vision", ".parts.NAME");
    [
        ("environment.during.", "environment.before."),
        ("environment.after.", "environment.before."),
        ("energy.idle_after.", "energy.idle."),
        ("energy.images.", "energy.idle."),
        ("energy.tokens.", "energy.idle."),
    ]
    .into_iter()
    .find_map(|(same, described)| Some(format!("{described}{}", name.strip_prefix(same)?)))
    .unwrap_or(name)
}

/// The pointer of every field of every object.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let at = format!("{at}/{key}");
                pointers(value, &at, found);
                // A name of a part is no field.
                if !at.ends_with("/parts/vision") {
                    found.push(at);
                }
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                pointers(value, &format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
}

fn example() -> (Value, Vec<String>) {
    let value: Value = serde_json::from_str(&testing::result().to_json()).unwrap();
    let mut found = Vec::new();
    pointers(&value, "", &mut found);
    (value, found)
}

#[test]
fn the_page_describes_every_field_and_no_other() {
    let fields: BTreeSet<String> = example().1.iter().map(|pointer| name(pointer)).collect();
    let page: BTreeSet<String> = described().into_keys().collect();
    let undescribed: Vec<_> = fields.difference(&page).collect();
    let unknown: Vec<_> = page.difference(&fields).collect();
    assert!(undescribed.is_empty(), "docs/bench.md lacks {undescribed:?}");
    assert!(unknown.is_empty(), "docs/bench.md has what no result has: {unknown:?}");
}

#[test]
fn the_page_calls_optional_what_a_result_can_be_without() {
    let (value, pointers) = example();
    let described = described();
    for pointer in pointers.iter().filter(|pointer| !pointer.starts_with("/summary/")) {
        let mut without = value.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        without.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key).unwrap();
        let read = BenchResult::from_json(without.to_string().as_bytes(), Path::new("r.json"));
        assert_eq!(read.is_ok(), described[&name(pointer)], "{pointer}");
    }
}
