//! The file of questions.

use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

/// The most bytes of questions that are read.
const MAX_BYTES: u64 = 1 << 30;

/// What some editors put before UTF-8.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// A question.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Question {
    /// Its line in the file, counted from 1.
    #[serde(skip)]
    pub(super) line: usize,
    /// A number or a text; not always unique.
    pub(super) question_id: Value,
    /// A file in the image folder.
    #[serde(default)]
    pub(super) image: Option<String>,
    /// What is asked.
    pub(super) text: String,
    /// The right answer, where it is known: a text or a number.
    #[serde(default)]
    pub(super) answer: Option<Value>,
    /// What the question is about, for counting.
    #[serde(default)]
    pub(super) category: Option<String>,
}

/// Reads all questions and sees to it that their images are there, so that nothing is answered
/// before everything can be.
pub(super) fn read(file: &Path, image_folder: &Path) -> Result<Vec<Question>> {
    let name = file.display();
    let size = fs::metadata(file).with_context(|| format!("{name}"))?.len();
    ensure!(size <= MAX_BYTES, "{name}: {size} bytes of questions, at most {MAX_BYTES} are read");
    let bytes = fs::read(file).with_context(|| format!("{name}"))?;
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&bytes);
    let mut questions = Vec::new();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let line_number = index + 1;
        let mut question = question(line).with_context(|| format!("{name}, line {line_number}"))?;
        question.line = line_number;
        if let Some(image) = &question.image {
            let path = image_folder.join(image);
            ensure!(
                path.is_file(),
                "{name}, line {line_number}: no image {} (--image-folder names the images' folder)",
                path.display()
            );
        }
        questions.push(question);
    }
    ensure!(!questions.is_empty(), "{name}: there are no questions in it");
    Ok(questions)
}

fn question(line: &[u8]) -> Result<Question> {
    let line = str::from_utf8(line).context("not UTF-8")?;
    ensure!(line.trim_start().starts_with('{'), "not a JSON object");
    serde_json::from_str(line).map_err(|error| {
        // Lines are counted in the file, not within a line.
        let place = format!(" at line 1 column {}", error.column());
        let what = error.to_string();
        anyhow!("{} (column {})", what.strip_suffix(&place).unwrap_or(&what), error.column())
    })
}

/// One of `num_chunks` chunks as the original cuts them: all but the last ones have
/// `ceil(questions / num_chunks)`.
pub(super) fn chunk(
    questions: &[Question],
    num_chunks: NonZeroUsize,
    index: usize,
) -> Result<&[Question]> {
    if index >= num_chunks.get() {
        bail!(
            "--chunk-idx is {index}; of {num_chunks} chunks the last is {}",
            num_chunks.get() - 1
        );
    }
    let size = questions.len().div_ceil(num_chunks.get());
    let start = size.saturating_mul(index).min(questions.len());
    let end = start.saturating_add(size).min(questions.len());
    Ok(&questions[start..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_text(text: impl AsRef<[u8]>) -> Result<Vec<Question>, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("q.jsonl");
        fs::write(&file, text).unwrap();
        fs::write(folder.path().join("a.png"), "").unwrap();
        read(&file, folder.path()).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn questions_of_llava_and_cumo_are_read() {
        let questions = read_text(concat!(
            "{\"question_id\": 7, \"image\": \"a.png\", \"text\": \"What?\", \"extra\": []}\n\n",
            "{\"question_id\": \"x/7\", \"text\": \"Why?\", \"answer\": \"no\", \"category\": \"c\"}",
        ))
        .unwrap();
        assert_eq!(questions[0].image.as_deref(), Some("a.png"));
        assert_eq!((questions[0].line, questions[1].line), (1, 3));
        assert_eq!(read_text("\u{feff}{\"question_id\": 7, \"text\": \"\"}\r\n").unwrap().len(), 1);
        assert_eq!(questions[1].question_id, "x/7");
        assert_eq!(questions[1].answer.as_ref().unwrap(), "no");
    }

    #[test]
    fn bad_lines_missing_images_and_empty_files_are_named() {
        let good = "{\"question_id\": 7, \"text\": \"What?\"}\n";
        for (line, part) in [
            (&b"{\"question_id\": 8}"[..], "missing field `text` (column 18)"),
            (b"{\"question_id\": 8, \"text\"", "EOF while parsing an object (column 25)"),
            (b"{\"question_id\": 8, \"text\": 5}", "expected a string (column 28)"),
            (b"{\"question_id\": 8, \"text\": \"\xff\"}", "not UTF-8"),
            (b"[8, null, \"text\"]", "not a JSON object"),
        ] {
            let error = read_text([good.as_bytes(), line].concat()).unwrap_err();
            assert!(error.contains("q.jsonl, line 2: ") && error.contains(part), "{error}");
        }
        let error =
            read_text("{\"question_id\": 7, \"text\": \"\", \"image\": \"b.png\"}").unwrap_err();
        assert!(error.contains("line 1: no image") && error.contains("b.png"), "{error}");
        assert!(error.contains("--image-folder"), "{error}");
        assert!(read_text("\n").unwrap_err().contains("no questions"));
    }

    fn some(count: usize) -> Vec<Question> {
        let question = |line| Question {
            line,
            question_id: line.into(),
            image: None,
            text: String::new(),
            answer: None,
            category: None,
        };
        (0..count).map(question).collect()
    }

    #[test]
    fn chunks_are_cut_as_the_original_cuts_them() {
        let questions = some(10);
        let sizes = |chunks: usize| {
            let count = NonZeroUsize::new(chunks).unwrap();
            (0..chunks).map(|k| chunk(&questions, count, k).unwrap().len()).collect::<Vec<_>>()
        };
        assert_eq!(sizes(3), [4, 4, 2]);
        assert_eq!(sizes(4), [3, 3, 3, 1]);
        assert_eq!(sizes(7), [2, 2, 2, 2, 2, 0, 0]);
        let error = chunk(&questions, NonZeroUsize::MIN, 1).unwrap_err().to_string();
        assert_eq!(error, "--chunk-idx is 1; of 1 chunks the last is 0");
    }

    proptest! {
        #[test]
        fn chunks_are_all_questions_in_order(count in 0..40_usize, chunks in 1..50_usize) {
            let questions = some(count);
            let chunks = NonZeroUsize::new(chunks).unwrap();
            let all: Vec<Question> = (0..chunks.get())
                .flat_map(|index| chunk(&questions, chunks, index).unwrap().to_vec())
                .collect();
            prop_assert_eq!(all, questions);
        }
    }
}
