//! The file of answers: appended to line by line, and read to go on where a run stopped.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::questions::Question;

/// A line of the file, with the keys that the original writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct AnswerLine {
    question_id: Value,
    /// The question's text, without `<image>`.
    prompt: String,
    text: String,
    answer_id: String,
    model_id: String,
    metadata: Map<String, Value>,
}

impl AnswerLine {
    pub(super) fn new(question: &Question, text: &str, model_id: &str) -> Self {
        AnswerLine {
            question_id: question.question_id.clone(),
            prompt: question.text.clone(),
            text: text.to_owned(),
            answer_id: answer_id(),
            model_id: model_id.to_owned(),
            metadata: Map::new(),
        }
    }
}

/// An answers file, open at its end.
#[derive(Debug)]
pub(super) struct AnswersFile {
    path: PathBuf,
    file: File,
    /// Texts that are in the file, by question id and text: the id alone is not always unique.
    before: HashMap<(String, String), Vec<String>>,
}

impl AnswersFile {
    /// Opens or makes a file of a model's answers, for one run at a time. A last line that was not written to its end is
    /// cut off.
    ///
    /// # Errors
    /// Where the file has something else than answers of this model in it; it is then left alone.
    pub(super) fn open(path: &Path, model_id: &str) -> Result<Self> {
        let name = path.display();
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .with_context(|| format!("{name}"))?;
        // Where the file system has no locks, there is none; the lock ends with the process.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            bail!(
                "{name}: another run writes to it; wait for its end, or give another --answers-file"
            );
        }
        let bytes = fs::read(path).with_context(|| format!("{name}"))?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let mut before: HashMap<(String, String), Vec<String>> = HashMap::new();
        for (index, line) in bytes[..whole].split(|byte| *byte == b'\n').enumerate() {
            if line.is_empty() {
                continue;
            }
            let answer: AnswerLine = serde_json::from_slice(line).with_context(|| {
                format!("{name}, line {}: not an answer; give another --answers-file", index + 1)
            })?;
            ensure!(
                answer.model_id == model_id,
                "{name}, line {}: an answer of `{}`, not of `{model_id}`; give another --answers-file",
                index + 1,
                answer.model_id
            );
            let key = (answer.question_id.to_string(), answer.prompt);
            before.entry(key).or_default().push(answer.text);
        }
        // Backwards, so that the first answer is taken first.
        before.values_mut().for_each(|texts| texts.reverse());
        file.set_len(whole as u64).with_context(|| format!("{name}"))?;
        file.seek(SeekFrom::End(0)).with_context(|| format!("{name}"))?;
        Ok(AnswersFile { path: path.to_owned(), file, before })
    }

    /// An answer that was in the file when it was opened; each is given once.
    pub(super) fn take(&mut self, question_id: &Value, text: &str) -> Option<String> {
        self.before.get_mut(&(question_id.to_string(), text.to_owned()))?.pop()
    }

    /// Writes a line.
    pub(super) fn add(&mut self, answer: &AnswerLine) -> Result<()> {
        let line = serde_json::to_string(answer)? + "\n";
        self.file.write_all(line.as_bytes()).with_context(|| format!("{}", self.path.display()))
    }
}

/// A new id of the original's form: 128 random bits as 22 characters (`shortuuid`).
fn answer_id() -> String {
    const ALPHABET: &[u8; 57] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let random = || u128::from(RandomState::new().hash_one(0));
    let mut number = random() << 64 | random();
    let mut id = String::new();
    for _ in 0..22 {
        id.push(char::from(ALPHABET[(number % 57) as usize]));
        number /= 57;
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(id: u32, text: &str) -> Question {
        serde_json::from_value(serde_json::json!({ "question_id": id, "text": text })).unwrap()
    }

    fn line(id: u32, text: &str) -> String {
        serde_json::to_string(&AnswerLine::new(&question(id, "Q?"), text, "m")).unwrap() + "\n"
    }

    #[test]
    fn a_run_goes_on_behind_the_last_whole_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/a.jsonl");
        let mut file = AnswersFile::open(&path, "m").unwrap();
        file.add(&AnswerLine::new(&question(1, "Q?"), "one", "m")).unwrap();
        drop(file);
        let whole = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{whole}{{\"question_id\": 2, \"pro")).unwrap();

        let mut file = AnswersFile::open(&path, "m").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), whole);
        assert_eq!(file.take(&1.into(), "Q?").as_deref(), Some("one"));
        assert_eq!(file.take(&1.into(), "Q?"), None);
        assert_eq!(file.take(&2.into(), "Q?"), None);
        file.add(&AnswerLine::new(&question(2, "Q?"), "two", "m")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2);
    }

    #[test]
    fn questions_that_share_an_id_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        fs::write(&path, line(1, "first") + &line(1, "second")).unwrap();
        let mut file = AnswersFile::open(&path, "m").unwrap();
        assert_eq!(file.take(&1.into(), "Other?"), None);
        assert_eq!(file.take(&1.into(), "Q?").as_deref(), Some("first"));
        assert_eq!(file.take(&1.into(), "Q?").as_deref(), Some("second"));
    }

    #[test]
    fn two_runs_at_once_do_not_write_to_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let first = AnswersFile::open(&path, "m").unwrap();
        let error = AnswersFile::open(&path, "m").unwrap_err().to_string();
        assert!(error.contains("another run writes to it"), "{error}");
        drop(first);
        AnswersFile::open(&path, "m").unwrap();
    }

    #[test]
    fn a_file_of_something_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        for (text, part) in [
            ("my thesis\nnot finished".to_owned(), "line 1: not an answer"),
            (line(1, "x"), "an answer of `m`, not of `other`"),
        ] {
            fs::write(&path, &text).unwrap();
            let error = format!("{:#}", AnswersFile::open(&path, "other").unwrap_err());
            assert!(error.contains(part), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn lines_have_the_originals_keys_in_its_order() {
        let line = line(5, "a");
        let keys = ["question_id", "prompt", "text", "answer_id", "model_id", "metadata"];
        let places: Vec<usize> = keys.iter().map(|key| line.find(key).unwrap()).collect();
        assert!(places.is_sorted());
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["metadata"], serde_json::json!({}));
        assert_eq!(value["answer_id"].as_str().unwrap().len(), 22);
    }

    #[test]
    fn ids_differ() {
        assert_ne!(answer_id(), answer_id());
    }
}
