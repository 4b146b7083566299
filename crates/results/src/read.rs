//! Reading a result: nothing in the file is taken on trust.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::check;
use crate::error::Error;
use crate::schema::{BenchResult, FORMAT, FORMAT_VERSION};

/// The largest file that is read. A result of 10 repetitions of 128 tokens at three depths has
/// about 60 kB.
pub const MAX_BYTES: u64 = 16 << 20;

/// What a file says it is.
#[derive(serde::Deserialize)]
struct Header {
    #[serde(default)]
    format: Said,
    #[serde(default)]
    format_version: Said,
}

/// A value of any kind, of which no more is kept than a message shows.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said(Option<String>);

impl<'de> Deserialize<'de> for Said {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Shown).map(Said)
    }
}

struct Shown;

impl<'de> Visitor<'de> for Shown {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Some(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Some(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Some(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Some(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Some(value.chars().take(40).collect()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Some("[..]".to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Some("{..}".to_owned()))
    }
}

impl BenchResult {
    /// Reads a file that [`BenchResult::write`] wrote.
    ///
    /// # Errors
    /// Every one names the file. [`Error::Read`]; [`Error::NotAFile`] for a folder, a pipe or a
    /// device, of which nothing is read; [`Error::TooLarge`] beyond [`MAX_BYTES`];
    /// [`Error::Json`] where it is not JSON, cut, or of another form; [`Error::Format`];
    /// [`Error::Absurd`].
    pub fn read(path: &Path) -> Result<BenchResult, Error> {
        let failed = |source| Error::Read { path: path.to_owned(), source };
        // Before it is opened: a pipe would be waited for.
        let metadata = path.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(Error::NotAFile { path: path.to_owned(), limit: MAX_BYTES });
        }
        if metadata.len() > MAX_BYTES {
            return Err(Error::TooLarge { path: path.to_owned(), limit: MAX_BYTES });
        }
        let file = File::open(path).map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
        BenchResult::from_json(&bytes, path)
    }

    /// Reads the content of a file; `path` is for messages.
    ///
    /// # Errors
    /// As [`BenchResult::read`].
    pub fn from_json(bytes: &[u8], path: &Path) -> Result<BenchResult, Error> {
        let path = || path.to_owned();
        if bytes.len() as u64 > MAX_BYTES {
            return Err(Error::TooLarge { path: path(), limit: MAX_BYTES });
        }
        let json = |source| Error::Json { path: path(), source };
        let header: Header = serde_json::from_slice(bytes).map_err(json)?;
        let version = FORMAT_VERSION.to_string();
        let known = (header.format.0.as_deref(), header.format_version.0.as_deref());
        if known != (Some(FORMAT), Some(&version)) {
            return Err(Error::Format { path: path(), found: found(&header) });
        }
        let result: BenchResult = serde_json::from_slice(bytes).map_err(json)?;
        let problems = check::problems(&result);
        if problems.is_empty() { Ok(result) } else { Err(Error::Absurd { path: path(), problems }) }
    }
}

/// What a file says it is, in words. What it says is shortened.
fn found(header: &Header) -> String {
    match (&header.format.0, &header.format_version.0) {
        (None, _) => "no `format`".to_owned(),
        (Some(format), None) => format!("format `{format}` without a version"),
        (Some(format), Some(version)) => format!("format `{format}` version {version}"),
    }
}

#[cfg(test)]
mod tests;
