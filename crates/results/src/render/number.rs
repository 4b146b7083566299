//! Numbers for people.

/// A number with about four digits that count: `1234`, `123.4`, `12.34`, `0.1234`.
pub(crate) fn number(value: f64) -> String {
    rounded(value, decimals(value))
}

/// A mean and a deviation from it, both as exact as the mean: `12.34 ± 0.05`.
pub(crate) fn with_deviation(mean: f64, deviation: f64) -> String {
    let decimals = decimals(mean);
    format!("{} ± {}", rounded(mean, decimals), rounded(deviation, decimals))
}

/// A round number at an axis, as short as it is exact.
pub(crate) fn tick(value: f64) -> String {
    let text = number(value);
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

fn decimals(value: f64) -> usize {
    match value.abs() {
        size if size >= 999.95 => 0,
        size if size >= 99.995 => 1,
        size if size >= 9.9995 => 2,
        size if size >= 0.99995 => 3,
        _ => 4,
    }
}

fn rounded(value: f64, decimals: usize) -> String {
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

/// A unit for bytes, the largest of which there is one, and how many bytes it has.
pub(crate) fn unit_of_bytes(bytes: f64) -> (&'static str, f64) {
    const UNITS: [(&str, f64); 4] = [
        ("KiB", 1024.0),
        ("MiB", 1_048_576.0),
        ("GiB", 1_073_741_824.0),
        ("TiB", 1_099_511_627_776.0),
    ];
    UNITS.into_iter().rfind(|(_, size)| bytes.abs() >= *size).unwrap_or(("B", 1.0))
}

/// Bytes in the largest unit of which there is one.
pub(crate) fn bytes(bytes: f64) -> String {
    match unit_of_bytes(bytes) {
        ("B", _) => format!("{bytes:.0} B"),
        (unit, size) => format!("{} {unit}", number(bytes / size)),
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
    fn deviations_are_as_exact_as_means_and_ticks_are_short() {
        assert_eq!(with_deviation(488.12, 4.1294), "488.1 ± 4.1");
        assert_eq!(with_deviation(4.0912, 0.03824), "4.091 ± 0.038");
        assert_eq!([0.0, 200.0, 0.25, 1200.0].map(tick), ["0", "200", "0.25", "1200"]);
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
