//! JSON files of limited size.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::marker::PhantomData;
use std::path::Path;

use serde::de::{
    Deserialize, DeserializeOwned, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor,
};

use crate::error::Error;
use crate::tensor::{MAX_TENSORS, is_name};

/// Reads and parses the JSON file at `path`, of at most `limit` bytes.
///
/// # Errors
///
/// The file is absent, not a regular file, too large, or not the JSON that `T` asks for.
pub(crate) fn read<T: DeserializeOwned>(path: &Path, limit: u64) -> Result<T, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(Error::NotAFile { path: path.to_owned() });
    }
    if metadata.len() > limit {
        return Err(Error::TooLarge { path: path.to_owned(), bytes: metadata.len(), limit });
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    serde_json::from_slice(&bytes).map_err(|source| Error::Json { path: path.to_owned(), source })
}

/// The members of a JSON object whose keys are tensors' names, in the file's order; an object that has a key twice is refused,
/// which `serde_json`'s own maps silently accept. The member `__metadata__`, which safetensors has
/// beside its tensors, is left out.
#[derive(Debug)]
pub(crate) struct UniqueMembers<V>(pub(crate) Vec<(String, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for UniqueMembers<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor(PhantomData))
    }
}

struct MembersVisitor<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for MembersVisitor<V> {
    type Value = UniqueMembers<V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if key == "__metadata__" {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            if !is_name(&key) {
                return Err(A::Error::custom(
                    "a name is longer than 1,000 bytes or has control characters",
                ));
            }
            if members.len() == MAX_TENSORS {
                return Err(A::Error::custom(format_args!("more than {MAX_TENSORS} names")));
            }
            if !seen.insert(key.clone()) {
                return Err(A::Error::custom(format_args!("`{key}` is there twice")));
            }
            let value =
                map.next_value().map_err(|e| A::Error::custom(format_args!("`{key}`: {e}")))?;
            members.push((key, value));
        }
        Ok(UniqueMembers(members))
    }
}
