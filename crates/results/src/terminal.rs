//! Text from outside on a terminal.

/// A message whose parts may come from outside: characters that terminals obey, or that make a line
/// read as another, are spelled out. Line ends and tabs stay.
#[must_use]
pub fn presentable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => shown.push(character),
            other => spell(other, &mut shown),
        }
    }
    shown
}

/// Appends a character, spelled out where a terminal would obey it.
pub(crate) fn spell(character: char, shown: &mut String) {
    // Marks that turn the direction of what follows can make a line read as another.
    let turns = matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    match character.is_control() || turns {
        true => shown.extend(character.escape_default()),
        false => shown.push(character),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_shown_and_not_sent() {
        assert_eq!(presentable("a\u{1b}[31mb\n\tc\r"), "a\\u{1b}[31mb\n\tc\\r");
        assert_eq!(presentable("a\u{202e}gnp.b"), "a\\u{202e}gnp.b");
        assert_eq!(presentable("caf\u{e9}"), "caf\u{e9}");
    }
}
