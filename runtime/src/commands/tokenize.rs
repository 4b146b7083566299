//! `cumo tokenize`: text or a conversation to ids.

use std::io::{self, Read};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use cumo_bundle::{Folder, PromptTemplate};
use cumo_processor::{Message, Role, Tokenizer, render, tokenize_prompt};
use serde::Deserialize;

use super::console;
use crate::cli::TokenizeArgs;

/// The most text that is read.
const MAX_INPUT_BYTES: u64 = 64 << 20;

/// A message as JSON.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonMessage {
    role: JsonRole,
    content: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum JsonRole {
    System,
    User,
    Assistant,
}

pub(crate) fn run(args: &TokenizeArgs) -> Result<ExitCode> {
    let (tokenizer, template) = open(args)?;
    let mut input = String::new();
    io::stdin()
        .take(MAX_INPUT_BYTES + 1)
        .read_to_string(&mut input)
        .context("reading standard input")?;
    if input.len() as u64 > MAX_INPUT_BYTES {
        bail!("standard input has more than {MAX_INPUT_BYTES} bytes");
    }
    let template = args.conversation.template.or(template);
    let prompt = prompt(&input, template, args.conversation.system.as_deref())?;
    let ids = tokenize_prompt(&tokenizer, &prompt)?;
    console::print_line(&serde_json::to_string(&ids)?)?;
    Ok(ExitCode::SUCCESS)
}

fn open(args: &TokenizeArgs) -> Result<(Tokenizer, Option<PromptTemplate>)> {
    if let Some(file) = &args.tokenizer {
        return Ok((Tokenizer::open(file)?, None));
    }
    let folder = args.model.as_deref().context("neither --model nor --tokenizer was given")?;
    let facts = Folder::read_model(folder)?;
    let kind = facts.tokenizer.with_context(|| {
        format!("{}: this model has no tokenizer; give --tokenizer", folder.display())
    })?;
    Ok((Tokenizer::open(&folder.join(kind.file_name()))?, Some(facts.template)))
}

/// The text to turn into ids: the input as it is, or laid out where it is a list of messages.
fn prompt(input: &str, template: Option<PromptTemplate>, system: Option<&str>) -> Result<String> {
    // Text may begin with a bracket too; only a JSON list is a conversation.
    let is_list = matches!(serde_json::from_str(input), Ok(serde_json::Value::Array(_)));
    if !is_list {
        return Ok(input.to_owned());
    }
    let mut messages: Vec<JsonMessage> =
        serde_json::from_str(input).context("reading messages from standard input")?;
    let template = template.context("messages need a template; give --template")?;
    let own_system = match messages.first() {
        Some(first) if first.role == JsonRole::System => messages.remove(0).content,
        _ => None,
    };
    let mut laid_out = Vec::new();
    for (index, message) in messages.into_iter().enumerate() {
        let role = match (message.role, index % 2) {
            (JsonRole::User, 0) => Role::User,
            (JsonRole::Assistant, 1) => Role::Assistant,
            _ => bail!(
                "message {index}: user and assistant take turns, the user first, and only the first message may be the system's"
            ),
        };
        laid_out.push(Message { role, text: message.content });
    }
    if laid_out.len() % 2 == 1 {
        laid_out.push(Message::answer());
    }
    Ok(render(template, system.or(own_system.as_deref()), &laid_out))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid_out(input: &str) -> String {
        prompt(input, Some(PromptTemplate::MistralInstruct), None).unwrap()
    }

    #[test]
    fn text_is_taken_as_it_is() {
        for text in ["plain text\n", "[INST] hi [/INST]", "{\"role\": 1}", ""] {
            assert_eq!(laid_out(text), text);
        }
    }

    #[test]
    fn messages_are_laid_out_and_an_answer_is_asked_for() {
        let user = r#"{"role": "user", "content": "Hi"}"#;
        assert_eq!(laid_out(&format!("[{user}]")), "<s>[INST] Hi [/INST]");
        let said = r#"{"role": "assistant", "content": "Ho"}"#;
        assert_eq!(laid_out(&format!("[{user}, {said}]")), "<s>[INST] Hi [/INST] Ho </s>");
        let system = r#"{"role": "system", "content": "Be kind"}"#;
        assert!(laid_out(&format!("[{system}, {user}]")).contains("<<SYS>>\nBe kind\n<</SYS>>"));
    }

    #[test]
    fn wrong_messages_are_named() {
        let error = |input: &str, template| prompt(input, template, None).unwrap_err();
        let template = Some(PromptTemplate::V1);
        let user = r#"{"role": "user", "content": "Hi"}"#;
        assert!(error(&format!("[{user}, {user}]"), template).to_string().contains("message 1"));
        assert!(error(&format!("[{user}]"), None).to_string().contains("--template"));
        assert!(format!("{:#}", error(r#"[{"rolle": "user"}]"#, template)).contains("`rolle`"));
        assert!(format!("{:#}", error("[1]", template)).contains("reading messages"));
    }
}
