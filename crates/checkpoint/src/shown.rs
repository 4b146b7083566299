//! Texts from files in messages: a long or odd one would fill the terminal, or change it.

/// A text from a file as a message shows it: without control characters, and of a long one the
/// beginning.
pub fn shown(text: &str) -> String {
    const SHOWN: usize = 80;
    let mut shown: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown += &format!("... ({} bytes)", text.len());
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_odd_texts_are_made_short_and_harmless() {
        assert_eq!(shown("conv-1"), "conv-1");
        assert_eq!(shown("a\u{1b}[2J"), "a\\u{1b}[2J");
        assert_eq!(shown(&"x".repeat(81)), format!("{}... (81 bytes)", "x".repeat(80)));
    }
}
