//! Stop strings in streamed text.

/// Passes text on until one of some strings is complete in it. Text that may be the beginning of
/// one is held back until it is known not to be.
#[derive(Debug, Clone, Default)]
pub struct StopStrings {
    stops: Vec<String>,
    held: String,
}

/// What became of a piece of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// Text that is certain now.
    pub text: String,
    /// Whether a stop string was complete; the text ends before it.
    pub stopped: bool,
}

impl StopStrings {
    /// Looks for `stops`; empty ones are left out.
    pub fn new(stops: impl IntoIterator<Item = String>) -> Self {
        let stops = stops.into_iter().filter(|stop| !stop.is_empty()).collect();
        StopStrings { stops, held: String::new() }
    }

    /// Adds text behind what came before.
    pub fn push(&mut self, text: &str) -> Passed {
        self.held.push_str(text);
        let first = self.stops.iter().filter_map(|stop| self.held.find(stop)).min();
        if let Some(place) = first {
            let text = self.held[..place].to_owned();
            self.held.clear();
            return Passed { text, stopped: true };
        }
        let certain = self.held.len() - self.beginning_at_end();
        let rest = self.held.split_off(certain);
        Passed { text: std::mem::replace(&mut self.held, rest), stopped: false }
    }

    /// Gives what was held back: the text is at its end.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Bytes at the end of the held text that may be the beginning of a stop string.
    fn beginning_at_end(&self) -> usize {
        let longest = |stop: &String| {
            // A proper beginning of a stop string is valid text only if cut between characters.
            let mut cuts = stop.char_indices().rev().map(|(index, _)| index);
            cuts.find(|cut| self.held.ends_with(&stop[..*cut])).unwrap_or(0)
        };
        self.stops.iter().map(longest).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stops(stops: &[&str]) -> StopStrings {
        StopStrings::new(stops.iter().map(|stop| (*stop).to_owned()))
    }

    fn passed(text: &str, stopped: bool) -> Passed {
        Passed { text: text.to_owned(), stopped }
    }

    #[test]
    fn a_stop_string_over_several_pieces_is_found_and_not_shown() {
        let mut stop = stops(&["END"]);
        assert_eq!(stop.push("so E"), passed("so ", false));
        assert_eq!(stop.push("N"), passed("", false));
        assert_eq!(stop.push("D more"), passed("", true));
    }

    #[test]
    fn text_that_turns_out_otherwise_is_given_back() {
        let mut stop = stops(&["ENDE", "###"]);
        assert_eq!(stop.push("END"), passed("", false));
        assert_eq!(stop.push("s #"), passed("ENDs ", false));
        assert_eq!(stop.finish(), "#");
    }

    #[test]
    fn the_first_stop_in_the_text_counts() {
        assert_eq!(stops(&["b", "a"]).push("xaby"), passed("x", true));
    }

    #[test]
    fn characters_of_several_bytes_are_never_cut() {
        let mut stop = stops(&["é你"]);
        assert_eq!(stop.push("caf\u{e9}"), passed("caf", false));
        assert_eq!(stop.push("\u{4f61}"), passed("\u{e9}\u{4f61}", false));
    }

    #[test]
    fn without_stop_strings_text_passes_at_once() {
        assert_eq!(stops(&["", ""]).push("text"), passed("text", false));
    }

    proptest! {
        #[test]
        fn pieces_give_what_the_whole_gives(
            pieces in proptest::collection::vec("[ab\u{e9}]{0,4}", 0..12),
            wanted in proptest::collection::vec("[ab\u{e9}]{1,4}", 0..3),
        ) {
            let whole: String = pieces.concat();
            let end = wanted.iter().filter_map(|stop| {
                // A stop string counts where it is complete first, as tokens come one by one.
                whole.find(stop.as_str())
            });
            let mut stop = StopStrings::new(wanted.clone());
            let mut text = String::new();
            let mut stopped = false;
            for piece in &pieces {
                let passed = stop.push(piece);
                text += &passed.text;
                stopped |= passed.stopped;
                if stopped { break }
            }
            if !stopped { text += &stop.finish(); }
            prop_assert_eq!(stopped, end.clone().next().is_some());
            prop_assert!(whole.starts_with(&text));
            if !stopped { prop_assert_eq!(&text, &whole); }
            for stop in &wanted { prop_assert!(!text.contains(stop.as_str())); }
        }
    }
}
