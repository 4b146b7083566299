//! Numbers for people.

/// A number with about four digits that count: `1234`, `123.4`, `12.34`, `0.1234`.
pub(crate) fn number(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 999.95 => 0,
        size if size >= 99.995 => 1,
        size if size >= 9.9995 => 2,
        size if size >= 0.99995 => 3,
        _ => 4,
    };
    let text = format!("{value:.decimals$}");
    // No minus before what is rounded to nothing.
    match text.strip_prefix('-') {
        Some(digits) if digits.chars().all(|digit| matches!(digit, '0' | '.')) => digits.to_owned(),
        _ => text,
    }
}

/// Nanoseconds as milliseconds, without the unit.
pub(crate) fn milliseconds(ns: f64) -> String {
    number(ns / 1e6)
}

/// Bytes in the largest unit of which there is one.
pub(crate) fn bytes(bytes: f64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes;
    let mut unit = 0;
    while value.abs() >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{value:.0} B"),
        _ => format!("{} {}", number(value), UNITS[unit]),
    }
}

/// A share as percent, with its sign where it is a change.
pub(crate) fn change(share: f64) -> String {
    let percent = format!("{:.1}", share.abs() * 100.0);
    let sign = if percent == "0.0" {
        ""
    } else if share < 0.0 {
        "-"
    } else {
        "+"
    };
    format!("{sign}{percent} %")
}

/// A share as percent.
pub(crate) fn share(share: f64) -> String {
    change(share).trim_start_matches('+').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_digits_count() {
        let shown = [12345.6, 1234.5, 123.45, 12.345, 1.2345, 0.12345, 0.00001, -0.00001, 0.0]
            .map(number)
            .join(" ");
        assert_eq!(shown, "12346 1234 123.5 12.35 1.234 0.1235 0.0000 0.0000 0.0000");
        assert_eq!([999.96, 99.996, 9.99996].map(number).join(" "), "1000 100.0 10.00");
    }

    #[test]
    fn bytes_have_the_largest_unit() {
        let shown = [0.0, 1023.0, 1024.0, 15e9, 1e308].map(bytes);
        assert_eq!(shown[..4], ["0 B", "1023 B", "1.000 KiB", "13.97 GiB"]);
        assert!(shown[4].ends_with(" TiB"));
    }

    #[test]
    fn changes_have_a_sign_unless_they_are_none() {
        assert_eq!([0.05, -0.123, -0.0001].map(change), ["+5.0 %", "-12.3 %", "0.0 %"]);
        assert_eq!([0.05, -0.123].map(share), ["5.0 %", "-12.3 %"]);
    }
}
