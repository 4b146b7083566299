//! The file of answers: appended to line by line, and read to go on where a run stopped.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use cumo_runtime::Identity;

use super::questions::Question;

/// Keys of an answer's metadata: SHA-256 of the manifests.
const BUNDLE: &str = "bundle_sha256";
const ENGINES: &str = "engines_sha256";

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

/// The model whose answers a file has: its name, and the hashes that tell it from others of that
/// name.
#[derive(Debug, Clone)]
pub(super) struct Answerer {
    model_id: String,
    metadata: Map<String, Value>,
}

impl Answerer {
    pub(super) fn new(model_id: &str, identity: &Identity) -> Self {
        let mut metadata = Map::new();
        metadata.insert(BUNDLE.to_owned(), identity.bundle_sha256.clone().into());
        if let Some(engines) = &identity.engines_sha256 {
            metadata.insert(ENGINES.to_owned(), engines.clone().into());
        }
        Answerer { model_id: model_id.to_owned(), metadata }
    }

    pub(super) fn answer(&self, question: &Question, text: &str) -> AnswerLine {
        AnswerLine {
            question_id: question.question_id.clone(),
            prompt: question.text.clone(),
            text: text.to_owned(),
            answer_id: answer_id(),
            model_id: self.model_id.clone(),
            metadata: self.metadata.clone(),
        }
    }

    /// Refuses an answer of another model.
    fn check(&self, answer: &AnswerLine) -> Result<()> {
        let own = &self.model_id;
        ensure!(answer.model_id == *own, "an answer of `{}`, not of `{own}`", answer.model_id);
        for (key, what) in [(BUNDLE, "bundle's"), (ENGINES, "engines'")] {
            let shown = |metadata: &Map<String, Value>| match metadata.get(key) {
                Some(Value::String(hash)) => hash.clone(),
                _ => "not told".to_owned(),
            };
            ensure!(
                answer.metadata.get(key) == self.metadata.get(key),
                "an answer of another model that is called `{own}` too ({key} of the {what} \
                 manifest: {}, here: {})",
                shown(&answer.metadata),
                shown(&self.metadata)
            );
        }
        Ok(())
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
    /// Opens or makes a file of a model's answers, for one run at a time. A last line that was not
    /// written to its end is cut off.
    ///
    /// # Errors
    /// Where the file has something else than answers of this model in it; it is then left alone.
    pub(super) fn open(path: &Path, answerer: &Answerer) -> Result<Self> {
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
            if let Err(reason) = answerer.check(&answer) {
                bail!("{name}, line {}: {reason}; give another --answers-file", index + 1);
            }
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

    /// A model, by the first digit of its manifest's hash.
    fn answerer(model_id: &str, digit: char) -> Answerer {
        let bundle_sha256 = digit.to_string().repeat(64);
        Answerer::new(model_id, &Identity { bundle_sha256, engines_sha256: None })
    }

    fn m() -> Answerer {
        answerer("m", '1')
    }

    fn line(id: u32, text: &str) -> String {
        serde_json::to_string(&m().answer(&question(id, "Q?"), text)).unwrap() + "\n"
    }

    #[test]
    fn a_run_goes_on_behind_the_last_whole_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/a.jsonl");
        let mut file = AnswersFile::open(&path, &m()).unwrap();
        file.add(&m().answer(&question(1, "Q?"), "one")).unwrap();
        drop(file);
        let whole = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{whole}{{\"question_id\": 2, \"pro")).unwrap();

        let mut file = AnswersFile::open(&path, &m()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), whole);
        assert_eq!(file.take(&1.into(), "Q?").as_deref(), Some("one"));
        assert_eq!(file.take(&1.into(), "Q?"), None);
        assert_eq!(file.take(&2.into(), "Q?"), None);
        file.add(&m().answer(&question(2, "Q?"), "two")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2);
    }

    #[test]
    fn questions_that_share_an_id_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        fs::write(&path, line(1, "first") + &line(1, "second")).unwrap();
        let mut file = AnswersFile::open(&path, &m()).unwrap();
        assert_eq!(file.take(&1.into(), "Other?"), None);
        assert_eq!(file.take(&1.into(), "Q?").as_deref(), Some("first"));
        assert_eq!(file.take(&1.into(), "Q?").as_deref(), Some("second"));
    }

    #[test]
    fn two_runs_at_once_do_not_write_to_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let first = AnswersFile::open(&path, &m()).unwrap();
        let error = AnswersFile::open(&path, &m()).unwrap_err().to_string();
        assert!(error.contains("another run writes to it"), "{error}");
        drop(first);
        AnswersFile::open(&path, &m()).unwrap();
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
            let other = answerer("other", '1');
            let error = format!("{:#}", AnswersFile::open(&path, &other).unwrap_err());
            assert!(error.contains(part), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn answers_of_another_model_of_the_same_name_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let untold = AnswerLine { metadata: Map::new(), ..m().answer(&question(1, "Q?"), "x") };
        let untold = serde_json::to_string(&untold).unwrap() + "\n";
        let of_engines =
            Identity { bundle_sha256: "1".repeat(64), engines_sha256: Some("3".repeat(64)) };
        for (text, other, parts) in [
            (line(1, "x"), answerer("m", '2'), ["1".repeat(64), "2".repeat(64)]),
            (line(1, "x"), Answerer::new("m", &of_engines), ["not told".into(), "3".repeat(64)]),
            (untold, m(), ["bundle_sha256".into(), "not told".into()]),
        ] {
            fs::write(&path, &text).unwrap();
            let error = AnswersFile::open(&path, &other).unwrap_err().to_string();
            assert!(error.contains("line 1: an answer of another model that is called `m`"));
            let whose = ["of the bundle's manifest: ", "of the engines' manifest: "];
            assert!(whose.iter().any(|whose| error.contains(whose)), "{error}");
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
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
        assert_eq!(value["metadata"], serde_json::json!({"bundle_sha256": "1".repeat(64)}));
        assert_eq!(value["answer_id"].as_str().unwrap().len(), 22);
    }

    #[test]
    fn ids_differ() {
        assert_ne!(answer_id(), answer_id());
    }
}
