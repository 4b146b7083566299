//! UTF-8 that comes byte by byte.

/// Bytes of characters that are not complete yet.
#[derive(Debug, Default, Clone)]
pub(super) struct Utf8Buffer {
    bytes: Vec<u8>,
}

impl Utf8Buffer {
    /// Adds a byte and moves what is decided to `out`: a character when its last byte is there,
    /// U+FFFD for a byte that cannot belong to one.
    pub(super) fn push(&mut self, byte: u8, out: &mut String) {
        self.bytes.push(byte);
        self.drain(false, out);
    }

    /// Ends a run of bytes: each byte of an incomplete character becomes U+FFFD.
    pub(super) fn flush(&mut self, out: &mut String) {
        self.drain(true, out);
    }

    fn drain(&mut self, end: bool, out: &mut String) {
        while !self.bytes.is_empty() {
            let decided = match std::str::from_utf8(&self.bytes) {
                Ok(text) => {
                    out.push_str(text);
                    text.len()
                }
                Err(error) if error.valid_up_to() > 0 => {
                    let valid = self.bytes.get(..error.valid_up_to()).unwrap_or_default();
                    out.push_str(&String::from_utf8_lossy(valid));
                    valid.len()
                }
                Err(error) if error.error_len().is_none() && !end => return,
                Err(_) => {
                    // One byte at a time, as SentencePiece, not a longest prefix as Rust.
                    out.push(char::REPLACEMENT_CHARACTER);
                    1
                }
            };
            self.bytes.drain(..decided);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(bytes: &[u8]) -> (String, String) {
        let (mut buffer, mut out, mut rest) = (Utf8Buffer::default(), String::new(), String::new());
        bytes.iter().for_each(|&byte| buffer.push(byte, &mut out));
        buffer.flush(&mut rest);
        (out, rest)
    }

    #[test]
    fn a_character_appears_with_its_last_byte() {
        assert_eq!(pushed("é🦀".as_bytes()), ("é🦀".into(), String::new()));
        assert_eq!(pushed(&[0xf0, 0x9f, 0xa6]), (String::new(), "\u{fffd}\u{fffd}\u{fffd}".into()));
    }

    #[test]
    fn each_byte_of_a_broken_character_is_replaced() {
        assert_eq!(pushed(&[0xe2, 0x82, b'A']).0, "\u{fffd}\u{fffd}A");
        assert_eq!(pushed(&[0xe0, 0x80, 0x80]).0, "\u{fffd}\u{fffd}\u{fffd}");
        assert_eq!(pushed(&[0xff]).0, "\u{fffd}");
    }
}
