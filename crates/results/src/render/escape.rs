//! Text from outside, spelled so that it stays text.

use crate::terminal::spell;

/// The most characters of one piece of text: all clocks of a machine are fewer.
const MAX_CHARS: usize = 1000;

/// For a cell or a line on a terminal: characters that it obeys are spelled out, line ends too, and
/// very long text is cut.
pub(crate) fn presentable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(MAX_CHARS));
    for (index, character) in text.chars().enumerate() {
        if index == MAX_CHARS {
            shown.push('\u{2026}');
            break;
        }
        spell(character, &mut shown);
    }
    shown
}

/// For Markdown: as for a terminal, and nothing in it is markup.
pub(crate) fn markdown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in presentable(text).chars() {
        match character {
            '<' => shown += "&lt;",
            '>' => shown += "&gt;",
            '&' => shown += "&amp;",
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' => {
                shown.push('\\');
                shown.push(character);
            }
            other => shown.push(other),
        }
    }
    shown
}

/// For HTML and SVG: as for a terminal, and nothing in it is markup, in text and in attributes
/// between double quotes.
pub(crate) fn html(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in presentable(text).chars() {
        match character {
            '<' => shown += "&lt;",
            '>' => shown += "&gt;",
            '&' => shown += "&amp;",
            '"' => shown += "&quot;",
            '\'' => shown += "&#39;",
            other => shown.push(other),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn very_long_text_is_cut() {
        assert_eq!(presentable(&"x".repeat(5000)).chars().count(), MAX_CHARS + 1);
    }

    proptest! {
        #[test]
        fn html_has_no_markup_and_terminals_get_no_orders(text in any::<String>()) {
            let shown = html(&text);
            prop_assert!(!shown.contains(['<', '>', '"', '\'']));
            prop_assert!(!shown.chars().any(char::is_control));
            prop_assert!(!presentable(&text).chars().any(char::is_control));
        }
    }
}
