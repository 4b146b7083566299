//! JSON for people and for version control: objects over several lines, numbers of a list on one.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

/// A value as JSON, with a line break at its end. Numbers that JSON cannot hold become `null`.
pub(crate) fn to_json(value: &impl Serialize) -> String {
    let mut bytes = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut bytes, Lines::default());
    // Our types have string keys alone, and memory takes all that is written: nothing can fail.
    let written = value.serialize(&mut serializer);
    debug_assert!(written.is_ok());
    bytes.push(b'\n');
    String::from_utf8(bytes).unwrap_or_default()
}

/// Breaks a list's lines where its elements are not numbers.
#[derive(Default)]
struct Lines {
    depth: usize,
    /// An element of a list has begun, and whether it is a number is not known yet; the value says
    /// whether it is the first.
    pending: Option<bool>,
    /// Whether the value that was written last stands on a line of its own.
    broken: bool,
}

impl Lines {
    fn new_line<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.broken = true;
        writer.write_all(b"\n")?;
        (0..self.depth).try_for_each(|_| writer.write_all(b"  "))
    }

    /// The element that has begun is a number.
    fn number<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        match self.pending.take() {
            Some(false) => writer.write_all(b" "),
            _ => Ok(()),
        }
    }

    /// The element that has begun is no number.
    fn other<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        match self.pending.take() {
            Some(_) => self.new_line(writer),
            None => Ok(()),
        }
    }
}

impl Formatter for Lines {
    fn write_u64<W: ?Sized + Write>(&mut self, writer: &mut W, value: u64) -> io::Result<()> {
        self.number(writer)?;
        CompactFormatter.write_u64(writer, value)
    }

    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        self.number(writer)?;
        CompactFormatter.write_f64(writer, value)
    }

    fn begin_string<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.other(writer)?;
        CompactFormatter.begin_string(writer)
    }

    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.other(writer)?;
        self.depth += 1;
        self.broken = false;
        writer.write_all(b"[")
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        if self.broken {
            self.new_line(writer)?;
        }
        // To the list around it, this one is an element on a line of its own.
        self.broken = true;
        writer.write_all(b"]")
    }

    fn begin_array_value<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.pending = Some(first);
        if first { Ok(()) } else { writer.write_all(b",") }
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.other(writer)?;
        self.depth += 1;
        self.broken = false;
        writer.write_all(b"{")
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        if self.broken {
            self.new_line(writer)?;
        }
        self.broken = true;
        writer.write_all(b"}")
    }

    fn begin_object_key<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if !first {
            writer.write_all(b",")?;
        }
        self.new_line(writer)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.broken = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_of_a_list_share_a_line_and_all_else_has_its_own() {
        let value = json!({
            "empty": [], "lists": [[1, 2], [3]], "names": ["a", "b"],
            "numbers": [1, 2.5, 3], "objects": [{"x": 1}, {}], "true": true,
        });
        let text = to_json(&value);
        assert_eq!(
            text,
            r#"{
  "empty": [],
  "lists": [
    [1, 2],
    [3]
  ],
  "names": [
    "a",
    "b"
  ],
  "numbers": [1, 2.5, 3],
  "objects": [
    {
      "x": 1
    },
    {}
  ],
  "true": true
}
"#
        );
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
