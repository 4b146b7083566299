//! Reads the keys of a JSON object one by one and collects what is wrong with them.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::Path;

use serde_json::{Map, Value};

use crate::error::{ConfigProblem, ConfigProblemKind};

/// The keys of a configuration file. A value that is wrong becomes a problem and is given as
/// `None`, so that everything wrong is found before the file is refused.
pub(super) struct Keys<'a> {
    file: &'a Path,
    map: &'a Map<String, Value>,
    /// Of nested objects, `vision_config.`.
    prefix: &'static str,
    problems: &'a mut Vec<ConfigProblem>,
}

impl<'a> Keys<'a> {
    pub(super) fn new(
        file: &'a Path,
        map: &'a Map<String, Value>,
        problems: &'a mut Vec<ConfigProblem>,
    ) -> Self {
        Self { file, map, prefix: "", problems }
    }

    /// The keys of another file, or of an object within one (`prefix` ends in a dot), whose
    /// problems are collected with these.
    pub(super) fn of<'b>(
        &'b mut self,
        file: &'b Path,
        map: &'b Map<String, Value>,
        prefix: &'static str,
    ) -> Keys<'b> {
        Keys { file, map, prefix, problems: self.problems }
    }

    /// The value of `key`; null counts as absent, as in Python's configurations.
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// Whether `key` is there, be it null.
    pub(super) fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    pub(super) fn problem(&mut self, key: &str, kind: ConfigProblemKind) {
        let key = format!("{}{key}", self.prefix);
        let problem = ConfigProblem { file: self.file.to_owned(), key, kind };
        // Some keys are read in two places.
        let shown = problem.to_string();
        if self.problems.iter().all(|known| known.to_string() != shown) {
            self.problems.push(problem);
        }
    }

    /// Refuses the value of `key`, which exists elsewhere.
    pub(super) fn not_supported(&mut self, key: &str, because: impl Into<String>) {
        let got = shown(self.map.get(key).unwrap_or(&Value::Null));
        self.problem(key, ConfigProblemKind::NotSupported { got, because: because.into() });
    }

    /// The value of `key` has another type than `want`.
    pub(super) fn wrong_type(&mut self, key: &str, value: &Value, want: &'static str) {
        self.problem(key, ConfigProblemKind::Type { got: shown(value), want });
    }

    /// A whole number. `None` after a problem was noted.
    pub(super) fn count(
        &mut self,
        key: &str,
        default: Option<usize>,
        range: RangeInclusive<usize>,
    ) -> Option<usize> {
        const WANT: &str = "a whole number";
        let Some(value) = self.get(key) else {
            if default.is_none() {
                self.problem(key, ConfigProblemKind::Missing { want: WANT });
            }
            return default;
        };
        self.count_value(key, value, range)
    }

    /// `value`, of `key`, as a whole number.
    pub(super) fn count_value(
        &mut self,
        key: &str,
        value: &Value,
        range: RangeInclusive<usize>,
    ) -> Option<usize> {
        const WANT: &str = "a whole number";
        if !value.is_i64() && !value.is_u64() {
            self.wrong_type(key, value, WANT);
            return None;
        }
        let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            self.out_of_range(key, value, range.start(), range.end());
        }
        number
    }

    /// A number that is finite and in `range`. `None` after a problem was noted.
    pub(super) fn number(
        &mut self,
        key: &str,
        default: f64,
        range: RangeInclusive<f64>,
    ) -> Option<f64> {
        match self.get(key) {
            None => Some(default),
            Some(value) => self.number_value(key, value, range),
        }
    }

    /// `value`, of `key`, as a number.
    pub(super) fn number_value(
        &mut self,
        key: &str,
        value: &Value,
        range: RangeInclusive<f64>,
    ) -> Option<f64> {
        let Some(number) = value.as_f64() else {
            self.wrong_type(key, value, "a number");
            return None;
        };
        if !range.contains(&number) {
            self.out_of_range(key, value, range.start(), range.end());
            return None;
        }
        Some(number)
    }

    /// true or false. `None` after a problem was noted.
    pub(super) fn flag(&mut self, key: &str, default: bool) -> Option<bool> {
        match self.get(key) {
            None => Some(default),
            Some(Value::Bool(flag)) => Some(*flag),
            Some(value) => {
                self.wrong_type(key, value, "true or false");
                None
            }
        }
    }

    /// A string; none where it is absent or, after a problem was noted, of another type.
    pub(super) fn text(&mut self, key: &str) -> Option<&'a str> {
        match self.get(key)? {
            Value::String(text) => Some(text),
            value => {
                self.wrong_type(key, value, "a string");
                None
            }
        }
    }

    fn out_of_range(&mut self, key: &str, got: &Value, low: impl Display, high: impl Display) {
        let (low, high) = (low.to_string(), high.to_string());
        self.problem(key, ConfigProblemKind::Range { got: shown(got), low, high });
    }
}

/// `value` as JSON, shortened.
pub(super) fn shown(value: &Value) -> String {
    const SHOWN: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        None => text,
        Some((at, _)) => format!("{}...", text.get(..at).unwrap_or_default()),
    }
}
