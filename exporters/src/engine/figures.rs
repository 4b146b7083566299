//! What a build says of the engine that came of it: memory, which the builder's log tells without a
//! device, and time.

use std::time::Duration;

use cumo_bundle::EngineFigures;
use cumo_tensorrt::Message;

/// The figures of a build that gave these messages and took this time. Where an engine is compiled
/// more than once, for several devices, the most memory counts.
pub(super) fn figures(messages: &[Message], time: Duration) -> EngineFigures {
    let bytes =
        |what: &str| messages.iter().filter_map(|message| figure(&message.text, what)).max();
    EngineFigures {
        activation_bytes: bytes("Total Activation Memory: "),
        persistent_bytes: bytes("Total Device Persistent Memory: "),
        weights_bytes: bytes("Total Weights Memory: "),
        build_milliseconds: u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
    }
}

/// The figure behind `what`.
fn figure(text: &str, what: &str) -> Option<u64> {
    text.trim().strip_prefix(what)?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cumo_tensorrt::Severity;

    #[test]
    fn the_most_of_each_figure_counts_and_others_are_none() {
        let messages = [
            "Total Activation Memory: 8470528 bytes",
            "Max Scratch Memory: 9000000 bytes",
            "Total Activation Memory: 8559616 bytes",
            "Total Weights Memory: 258 bytes",
            "Total Weights Memory: many bytes",
        ]
        .map(|text| Message { severity: Severity::Info, text: text.to_owned() });
        let found = figures(&messages, Duration::from_millis(1200));
        let EngineFigures { activation_bytes, persistent_bytes, .. } = found;
        assert_eq!((activation_bytes, persistent_bytes), (Some(8_559_616), None));
        assert_eq!((found.weights_bytes, found.build_milliseconds), (Some(258), 1200));
    }
}
