//! Environment variables that name a file or a folder.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

/// The path that an environment variable names; none where it is not set, or empty, as a line
/// `export NAME=` leaves it.
#[must_use]
pub fn path_variable(name: &str) -> Option<PathBuf> {
    named(env::var_os(name))
}

fn named(value: Option<OsString>) -> Option<PathBuf> {
    value.filter(|value| !value.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_is_set_and_empty_counts_as_unset() {
        assert_eq!(named(None), None);
        assert_eq!(named(Some(OsString::new())), None);
        assert_eq!(named(Some("/opt".into())), Some(PathBuf::from("/opt")));
    }
}
