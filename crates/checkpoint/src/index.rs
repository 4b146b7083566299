//! Weights in shards: an index file says which tensor lies in which file.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::Deserialize;

use crate::error::{Error, IndexProblem};
use crate::json::{self, UniqueMembers};
use crate::shown::shown;
use crate::tensor::{Stored, is_name};

/// Bytes that an index may have. A model of 100,000 tensors has about 10 MB.
const MAX_INDEX: u64 = 256 << 20;

#[derive(Deserialize)]
struct Index {
    weight_map: UniqueMembers<String>,
}

/// The tensors of all shards that the index at `path` names, each read by `read_shard`.
///
/// # Errors
///
/// The index is not one, a shard is missing, a tensor is in none, in two, or in another shard
/// than the index says: all of it in one error. A shard that cannot be read is its own error.
pub(crate) fn read(
    path: &Path,
    read_shard: impl Fn(&Path) -> Result<Vec<Stored>, Error>,
) -> Result<Vec<Stored>, Error> {
    let Index { weight_map: UniqueMembers(weight_map) } = json::read(path, MAX_INDEX)?;
    let dir = path.parent().unwrap_or(Path::new(""));
    let mut shards = BTreeMap::<&str, usize>::new();
    for (_, shard) in &weight_map {
        *shards.entry(shard).or_default() += 1;
    }
    let mut problems = Vec::new();
    for (&shard, &tensors) in &shards {
        if !is_file_name(shard) {
            problems.push(IndexProblem::NotAFileName { shard: shown(shard) });
        } else if !dir.join(shard).exists() {
            problems.push(IndexProblem::NoShard { shard: shard.to_owned(), tensors });
        }
    }
    let refuse = |problems| Err(Error::Index { index: path.to_owned(), problems });
    if !problems.is_empty() {
        return refuse(problems);
    }
    let mut all = Vec::new();
    let mut found = HashMap::<String, &str>::new();
    for &shard in shards.keys() {
        for stored in read_shard(&dir.join(shard))? {
            if let Some(first) = found.insert(stored.name.clone(), shard) {
                let (name, first, second) = (stored.name, first.to_owned(), shard.to_owned());
                problems.push(IndexProblem::Twice { name, first, second });
                continue;
            }
            all.push(stored);
        }
    }
    for (name, shard) in &weight_map {
        let (name, shard) = (name.clone(), shard.clone());
        match found.get(&name) {
            None => problems.push(IndexProblem::NotInShard { name, shard }),
            Some(&other) if other != shard => {
                problems.push(IndexProblem::OtherShard { name, shard, found: other.to_owned() });
            }
            Some(_) => {}
        }
    }
    if problems.is_empty() { Ok(all) } else { refuse(problems) }
}

/// Bytes that a file's name may have, on every file system there is.
const MAX_FILE_NAME: usize = 255;

/// Whether `shard` names a file in the index's own folder and nothing elsewhere, and can be shown.
fn is_file_name(shard: &str) -> bool {
    shard.len() <= MAX_FILE_NAME
        && is_name(shard)
        && Path::new(shard).file_name().is_some_and(|name| name == shard)
        && !shard.contains(['/', '\\'])
}
