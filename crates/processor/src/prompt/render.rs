//! Laying out a conversation as text (`Conversation.get_prompt`).

use cumo_bundle::PromptTemplate;

use super::template::{SeparatorStyle, Template, template};

/// Who says a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The one who asks.
    User,
    /// The model.
    Assistant,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What is said, with `<image>` where an image goes; none for the answer that is asked for.
    pub text: Option<String>,
}

impl Message {
    /// What the user says.
    pub fn user(text: impl Into<String>) -> Self {
        Message { role: Role::User, text: Some(text.into()) }
    }

    /// What the model has said.
    pub fn assistant(text: impl Into<String>) -> Self {
        Message { role: Role::Assistant, text: Some(text.into()) }
    }

    /// The answer that is asked for: the last message of a prompt.
    pub fn answer() -> Self {
        Message { role: Role::Assistant, text: None }
    }
}

/// The prompt of a conversation, as the original's `get_prompt` gives it.
///
/// `system` takes the place of the template's system text; an empty one leaves it out. Every
/// template takes one: those of the `[INST]` kind put it between `<<SYS>>` marks, also
/// `mistral_instruct`, which has none of its own, and `plain` puts it first as it is.
///
/// The first message is the user's. As in the original, an empty message is like none, except that
/// the first one may be empty here (the original refuses it).
pub fn render(name: PromptTemplate, system: Option<&str>, messages: &[Message]) -> String {
    let template = template(name);
    let system = system.unwrap_or(template.system);
    match template.sep_style {
        SeparatorStyle::Two => two(template, system, messages),
        SeparatorStyle::Llama2 => llama_2(template, system, messages),
        SeparatorStyle::Plain => plain(template, system, messages),
    }
}

impl Template {
    fn separator(&self, index: usize) -> &'static str {
        if index.is_multiple_of(2) { self.sep } else { self.sep2 }
    }
}

fn two(template: &Template, system: &str, messages: &[Message]) -> String {
    let mut prompt = format!("{system}{}", template.sep);
    for (index, message) in messages.iter().enumerate() {
        prompt += template.roles[message.role as usize];
        match said(message) {
            Some(text) => prompt.extend([": ", text, template.separator(index)]),
            None => prompt.push(':'),
        }
    }
    prompt
}

fn llama_2(template: &Template, system: &str, messages: &[Message]) -> String {
    let mut prompt = String::new();
    for (index, message) in messages.iter().enumerate() {
        let text = match (index, &message.text) {
            (0, Some(text)) => text,
            _ => match said(message) {
                Some(text) => text,
                None => continue,
            },
        };
        if index == 0 {
            prompt += "<s>[INST] ";
            if !system.is_empty() {
                prompt.extend(["<<SYS>>\n", system, "\n<</SYS>>\n\n"]);
            }
            prompt.extend([text, " [/INST]"]);
        } else if index.is_multiple_of(2) {
            prompt.extend([template.sep, "[INST] ", text, " [/INST]"]);
        } else {
            prompt.extend([" ", text, " ", template.sep2]);
        }
    }
    // Python's `lstrip(sep)`: all leading characters that `sep` has, in any order.
    prompt.trim_start_matches(|c| template.sep.contains(c)).to_owned()
}

fn plain(template: &Template, system: &str, messages: &[Message]) -> String {
    let mut prompt = system.to_owned();
    for (index, message) in messages.iter().enumerate() {
        if let Some(text) = said(message) {
            prompt.extend([text, template.separator(index)]);
        }
    }
    prompt
}

/// The message's text, where it has one that is not empty.
fn said(message: &Message) -> Option<&str> {
    message.text.as_deref().filter(|text| !text.is_empty())
}
