//! Images of the command line, of which one may come from standard input.

use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use cumo_processor::ImageLimits;
use cumo_runtime::ImageSource;

/// What stands for standard input; a file of that name is `./-`.
const STDIN: &str = "-";

/// The images of a command that reads nothing else from standard input.
pub(crate) fn sources(paths: &[PathBuf]) -> Result<Vec<ImageSource>> {
    let count = paths.iter().filter(|path| is_stdin(path)).count();
    ensure!(count < 2, "--image -: standard input has one image, and {count} are to come from it");
    ensure!(
        count == 0 || !io::stdin().is_terminal(),
        "--image -: standard input is a terminal; an image comes from a pipe or a file"
    );
    let limits = ImageLimits::default();
    let source = |path: &PathBuf| match is_stdin(path) {
        true => read(io::stdin().lock(), limits.max_bytes),
        false => Ok(ImageSource::File(path.clone())),
    };
    paths.iter().map(source).collect()
}

/// Refuses standard input where images must be files, for a reason that goes on after a colon.
pub(crate) fn only_files(paths: &[PathBuf], reason: &str) -> Result<()> {
    match paths.iter().any(|path| is_stdin(path)) {
        true => bail!("--image -: {reason}; give a file (one that is called `-` is ./-)"),
        false => Ok(()),
    }
}

/// Whether a path stands for standard input.
pub(crate) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == STDIN
}

fn read(input: impl Read, limit: u64) -> Result<ImageSource> {
    let mut bytes = Vec::new();
    let most = limit.saturating_add(1);
    input.take(most).read_to_end(&mut bytes).context("--image -: reading standard input")?;
    ensure!(!bytes.is_empty(), "--image -: standard input is empty");
    ensure!(
        (bytes.len() as u64) < most,
        "--image -: standard input has more than {limit} bytes, the limit of an image"
    );
    Ok(ImageSource::Bytes { name: PathBuf::from("standard input"), bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_of_standard_input_is_read_up_to_its_limit() {
        let source = read(&b"1234"[..], 4).unwrap();
        let name = PathBuf::from("standard input");
        assert_eq!(source, ImageSource::Bytes { name, bytes: b"1234".to_vec() });
        // Without an end, too.
        let error = read(io::repeat(7), 4).unwrap_err().to_string();
        assert!(error.contains("more than 4 bytes"), "{error}");
        let error = read(io::empty(), 4).unwrap_err().to_string();
        assert!(error.contains("standard input is empty"), "{error}");
    }

    #[test]
    fn standard_input_is_taken_once_or_not_at_all() {
        let paths = ["-", "a.png", "-"].map(PathBuf::from);
        let error = sources(&paths).unwrap_err().to_string();
        assert!(error.contains("2 are to come from it"), "{error}");
        let error = only_files(&paths, "lines come from there").unwrap_err().to_string();
        assert!(error.contains("--image -: lines come from there; give a file"), "{error}");
        let files = ["./-", "a.png"].map(PathBuf::from);
        only_files(&files, "").unwrap();
        assert_eq!(sources(&files).unwrap(), files.map(ImageSource::File));
    }
}
