//! How many answers are right.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::questions::Question;

/// Right answers among the questions that say what is right. An answer is right where it equals
/// the known one once white space around both is taken away.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Accuracy {
    #[serde(flatten)]
    all: Count,
    categories: BTreeMap<String, Count>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
struct Count {
    correct: usize,
    total: usize,
    percent: f64,
}

impl Count {
    fn add(&mut self, correct: bool) {
        self.correct += usize::from(correct);
        self.total += 1;
        self.percent = 100.0 * self.correct as f64 / self.total as f64;
    }
}

impl Accuracy {
    /// Counts an answer, where the question says what is right.
    pub(super) fn add(&mut self, question: &Question, text: &str) {
        let known = match &question.answer {
            None | Some(Value::Null) => return,
            Some(Value::String(known)) => known.trim().to_owned(),
            Some(other) => other.to_string(),
        };
        let correct = known == text.trim();
        self.all.add(correct);
        if let Some(category) = &question.category {
            self.categories.entry(category.clone()).or_default().add(correct);
        }
    }

    /// The counts, if there are any.
    pub(super) fn known(self) -> Option<Self> {
        (self.all.total > 0).then_some(self)
    }

    /// A line for each category and one for all.
    pub(super) fn table(&self) -> String {
        let all = "all".to_owned();
        let rows = self.categories.iter().chain([(&all, &self.all)]);
        let width = rows.clone().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let row = |(name, count): (&String, &Count)| {
            format!("{name:width$}  {:6.2} %  {} of {}", count.percent, count.correct, count.total)
        };
        rows.map(row).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(answer: Value, category: &str) -> Question {
        serde_json::from_value(serde_json::json!({
            "question_id": 1, "text": "", "answer": answer, "category": category,
        }))
        .unwrap()
    }

    #[test]
    fn answers_are_compared_without_white_space_around_them() {
        let mut accuracy = Accuracy::default();
        accuracy.add(&question(" red ".into(), "colour"), "red\n");
        accuracy.add(&question("red".into(), "colour"), "Red");
        accuracy.add(&question(3.into(), "count"), "3");
        accuracy.add(&question(Value::Null, "count"), "4");
        assert_eq!(
            accuracy.table(),
            "colour   50.00 %  1 of 2\ncount   100.00 %  1 of 1\nall      66.67 %  2 of 3"
        );
    }

    #[test]
    fn without_known_answers_there_is_no_accuracy() {
        let mut accuracy = Accuracy::default();
        accuracy.add(&question(Value::Null, "c"), "x");
        assert_eq!(accuracy.known(), None);
    }
}
