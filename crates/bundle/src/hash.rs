//! SHA-256 of files.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

/// A SHA-256 sum as 64 lower-case hexadecimal digits.
pub type Sha256Hex = String;

/// Hashes everything a reader gives, reporting the bytes of each piece as they pass.
///
/// # Errors
/// Those of the reader.
pub fn hash_reader(mut reader: impl Read, mut progress: impl FnMut(u64)) -> io::Result<Sha256Hex> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0u8; 1 << 20];
    loop {
        let got = match reader.read(&mut buffer) {
            Ok(0) => return Ok(hex(&hasher.finalize())),
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&buffer[..got]);
        progress(got as u64);
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_sha256_of_all_bytes_read() {
        // FIPS 180-2, appendix B.1.
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let mut passed = 0;
        assert_eq!(hash_reader(&b"abc"[..], |bytes| passed += bytes).unwrap(), sha256);
        assert_eq!(passed, 3);
    }
}
