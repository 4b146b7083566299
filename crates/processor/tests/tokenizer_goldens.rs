//! Ids, texts and prompts equal what the slow `LlamaTokenizer` and `conversation.py` gave.

use std::fs;
use std::path::{Path, PathBuf};

use cumo_bundle::PromptTemplate;
use cumo_processor::{Message, Role, Tokenizer, render, tokenize_prompt};
use serde_json::Value;

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/goldens")
}

fn tokenizer() -> Tokenizer {
    Tokenizer::open(&goldens().join("tokenizer.model")).unwrap()
}

fn json() -> Value {
    let bytes = fs::read(goldens().join("tokenizer_goldens.json")).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn strings_have_the_ids_and_texts_of_the_original() {
    let (tokenizer, json) = (tokenizer(), json());
    let strings = json["strings"].as_array().unwrap();
    assert_eq!(strings.len(), 56);
    for string in strings {
        let text = string["text"].as_str().unwrap();
        let want = ids(&string["ids"]);
        assert_eq!(tokenizer.encode(text).unwrap(), want, "{text:?}");
        assert_eq!(tokenizer.decode(&want).unwrap(), string["decoded"], "{text:?}");
    }
}

#[test]
fn the_stream_has_the_text_of_the_original() {
    let (tokenizer, json) = (tokenizer(), json());
    let (mut stream, mut text) = (tokenizer.stream(), String::new());
    for id in ids(&json["stream"]["ids"]) {
        let new = stream.push(id).unwrap();
        assert!(!new.contains(char::REPLACEMENT_CHARACTER));
        text += &new;
    }
    assert_eq!(stream.finish(), "");
    assert_eq!(text, json["stream"]["text"].as_str().unwrap());
}

#[test]
fn conversations_have_the_prompts_and_ids_of_the_original() {
    let (tokenizer, json) = (tokenizer(), json());
    let conversations = json["conversations"].as_array().unwrap();
    assert_eq!(conversations.len(), 26);
    for conversation in conversations {
        let mode = conversation["mode"].as_str().unwrap();
        let template = PromptTemplate::by_name(mode).unwrap();
        let messages: Vec<Message> = (conversation["messages"].as_array().unwrap().iter())
            .zip([Role::User, Role::Assistant].into_iter().cycle())
            .map(|(message, role)| Message { role, text: message[1].as_str().map(str::to_owned) })
            .collect();
        let prompt = render(template, None, &messages);
        assert_eq!(prompt, conversation["prompt"], "{mode}");
        let want: Vec<i64> = serde_json::from_value(conversation["ids"].clone()).unwrap();
        assert_eq!(tokenize_prompt(&tokenizer, &prompt).unwrap(), want, "{prompt}");
    }
}
