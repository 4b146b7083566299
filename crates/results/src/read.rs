//! Reading a result: nothing in the file is taken on trust.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::check;
use crate::error::Error;
use crate::schema::{BenchResult, FORMAT, FORMAT_VERSION};

/// The largest file that is read. A result of 10 repetitions of 128 tokens at three depths has
/// about 60 kB.
pub const MAX_BYTES: u64 = 16 << 20;

/// What a file says it is.
#[derive(Deserialize)]
struct Header {
    #[serde(default)]
    format: Value,
    #[serde(default)]
    format_version: Value,
}

impl BenchResult {
    /// Reads a file that [`BenchResult::write`] wrote.
    ///
    /// # Errors
    /// Every one names the file. [`Error::Read`]; [`Error::TooLarge`] beyond [`MAX_BYTES`];
    /// [`Error::Json`] where it is not JSON, cut, or of another form; [`Error::Format`];
    /// [`Error::Absurd`].
    pub fn read(path: &Path) -> Result<BenchResult, Error> {
        let failed = |source| Error::Read { path: path.to_owned(), source };
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
        if header.format != FORMAT || header.format_version != FORMAT_VERSION {
            return Err(Error::Format { path: path(), found: found(&header) });
        }
        let result: BenchResult = serde_json::from_slice(bytes).map_err(json)?;
        let problems = check::problems(&result);
        if problems.is_empty() { Ok(result) } else { Err(Error::Absurd { path: path(), problems }) }
    }
}

/// What a file says it is, in words. What it says is shortened.
fn found(header: &Header) -> String {
    let short = |value: &Value| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        text.chars().take(40).collect::<String>()
    };
    match (&header.format, &header.format_version) {
        (Value::Null, _) => "no `format`".to_owned(),
        (format, Value::Null) => format!("format `{}` without a version", short(format)),
        (format, version) => format!("format `{}` version {}", short(format), short(version)),
    }
}

#[cfg(test)]
mod tests;
