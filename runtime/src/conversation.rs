//! A conversation of several turns, as ids that only grow.

use cumo_bundle::PromptTemplate;
use cumo_processor::{Message, Tokenizer, render, tokenize_prompt};

use crate::error::Error;
use crate::generate::Answer;

/// The turns so far, and their ids.
///
/// The ids of earlier turns are kept as they were given to the model and as it chose them, so that
/// they stay in the cache. Laying the whole conversation out anew would not always give them again:
/// the model may spell a word in other pieces than the tokenizer does, and templates put a space
/// between an answer and its end. Only what comes behind the last answer is taken from the
/// conversation laid out anew, where tokens begin afresh.
#[derive(Debug, Clone)]
pub struct Conversation {
    template: PromptTemplate,
    system: Option<String>,
    eos_token_id: Option<u32>,
    messages: Vec<Message>,
    ids: Vec<i64>,
}

impl Conversation {
    /// A conversation without turns. `eos_token_id` is put behind answers that the model did not
    /// end itself.
    pub fn new(
        template: PromptTemplate,
        system: Option<String>,
        eos_token_id: Option<u32>,
    ) -> Self {
        Conversation { template, system, eos_token_id, messages: Vec::new(), ids: Vec::new() }
    }

    /// Turns that were answered.
    pub fn turns(&self) -> usize {
        self.messages.len() / 2
    }

    /// The ids to ask `question` with, which has `<image>` where an image goes.
    ///
    /// # Errors
    /// [`Error::Processor`] where the tokenizer cannot represent it.
    pub fn prompt(&self, tokenizer: &Tokenizer, question: &str) -> Result<Vec<i64>, Error> {
        let mut messages = self.messages.clone();
        messages.extend([Message::user(question), Message::answer()]);
        let text = render(self.template, self.system.as_deref(), &messages);
        let whole = tokenize_prompt(tokenizer, &text)?;
        let eos = tokenizer.eos_id().map(i64::from);
        let mut ends = whole.iter().enumerate().filter(|(_, id)| Some(**id) == eos);
        let turns = self.turns();
        let last = match turns {
            0 => None,
            turns => ends.nth(turns - 1),
        };
        match (last, ends.next()) {
            // One end for each answer: what follows the last is new.
            (Some((end, _)), None) => {
                let new = whole.get(end + 1..).unwrap_or_default();
                Ok([self.ids.as_slice(), new].concat())
            }
            _ => Ok(whole),
        }
    }

    /// Adds a turn: the question, the ids it was asked with and the answer. An answer without text
    /// is no turn, and leaves the conversation as it was.
    pub fn add(&mut self, question: &str, ids: Vec<i64>, answer: &Answer) {
        let text = answer.text.as_deref().unwrap_or_default();
        if text.is_empty() {
            return;
        }
        self.messages.extend([Message::user(question), Message::assistant(text)]);
        self.ids = ids;
        let end = answer.end_token.or(self.eos_token_id);
        self.ids.extend(answer.tokens.iter().copied().chain(end).map(i64::from));
    }
}
