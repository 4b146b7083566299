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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::generate::{FinishReason, GenerateTimes};

    fn tokenizer() -> Tokenizer {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/goldens/tokenizer.model");
        Tokenizer::open(&path).unwrap()
    }

    fn answer(text: &str, tokens: &[u32], end_token: Option<u32>) -> Answer {
        Answer {
            tokens: tokens.to_vec(),
            end_token,
            text: Some(text.to_owned()),
            finish_reason: FinishReason::Stop,
            prompt_tokens: 0,
            image_tokens: 0,
            cached_tokens: 0,
            max_new_tokens: tokens.len(),
            logprobs: Vec::new(),
            seed: 0,
            times: GenerateTimes::default(),
        }
    }

    fn one_shot(template: PromptTemplate, messages: &[Message]) -> Vec<i64> {
        tokenize_prompt(&tokenizer(), &render(template, None, messages)).unwrap()
    }

    #[test]
    fn the_first_turn_is_the_one_shot_prompt() {
        for template in PromptTemplate::ALL {
            let conversation = Conversation::new(template, None, Some(2));
            let ids = conversation.prompt(&tokenizer(), "<image>\nWhat?").unwrap();
            let messages = [Message::user("<image>\nWhat?"), Message::answer()];
            assert_eq!(ids, one_shot(template, &messages));
        }
    }

    #[test]
    fn later_turns_begin_with_what_was_computed_and_end_as_the_one_shot_prompt() {
        let tokenizer = tokenizer();
        for template in [
            PromptTemplate::MistralInstruct,
            PromptTemplate::MistralInstructSystem,
            PromptTemplate::V1,
            PromptTemplate::LlavaLlama2,
        ] {
            let mut conversation = Conversation::new(template, None, Some(2));
            let mut messages = Vec::new();
            let mut earlier = Vec::new();
            for turn in 0..4 {
                let question = format!("<image>\nQuestion {turn}?");
                let ids = conversation.prompt(&tokenizer, &question).unwrap();
                assert!(ids.starts_with(&earlier), "{template:?}, turn {turn}");
                messages.extend([Message::user(question.as_str()), Message::answer()]);
                let whole = one_shot(template, &messages);
                let behind_end = |ids: &[i64]| {
                    ids[ids.iter().rposition(|id| *id == 2).map_or(0, |end| end + 1)..].to_vec()
                };
                assert_eq!(behind_end(&ids), behind_end(&whole), "{template:?}, turn {turn}");
                // Spelled in bytes, as the tokenizer never would; the second was cut off.
                let end = (turn != 1).then_some(2);
                conversation.add(&question, ids.clone(), &answer("Hi", &[3 + 72, 3 + 105], end));
                messages.pop();
                messages.push(Message::assistant("Hi"));
                earlier = ids;
                earlier.extend([3 + 72, 3 + 105, 2]);
            }
            assert_eq!(conversation.turns(), 4);
        }
    }

    #[test]
    fn an_end_in_the_text_lays_everything_out_anew() {
        let template = PromptTemplate::MistralInstruct;
        let mut conversation = Conversation::new(template, None, Some(2));
        let ids = conversation.prompt(&tokenizer(), "a </s> b").unwrap();
        conversation.add("a </s> b", ids, &answer("Hi", &[75, 108], Some(2)));
        let ids = conversation.prompt(&tokenizer(), "more").unwrap();
        let messages = [
            Message::user("a </s> b"),
            Message::assistant("Hi"),
            Message::user("more"),
            Message::answer(),
        ];
        assert_eq!(ids, one_shot(template, &messages));
    }

    #[test]
    fn an_answer_without_text_is_no_turn() {
        let mut conversation = Conversation::new(PromptTemplate::V1, None, Some(2));
        let ids = conversation.prompt(&tokenizer(), "What?").unwrap();
        conversation.add("What?", ids.clone(), &answer("", &[], Some(2)));
        assert_eq!(conversation.turns(), 0);
        assert_eq!(conversation.prompt(&tokenizer(), "What?").unwrap(), ids);
    }
}
