//! Prompts at the edges: other system texts, empty texts, only images.

use std::path::Path;

use cumo_bundle::PromptTemplate;
use cumo_processor::{
    IMAGE_TOKEN_ID, Message, Tokenizer, count_image_marks, render, tokenize_prompt,
};

fn tokenizer() -> Tokenizer {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/goldens/tokenizer.model");
    Tokenizer::open(&path).unwrap()
}

fn question(text: &str) -> [Message; 2] {
    [Message::user(text), Message::answer()]
}

#[test]
fn a_given_system_text_takes_the_templates_place() {
    let prompt = |template, system| render(template, Some(system), &question("Hi"));
    let inst = "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST]";
    assert_eq!(prompt(PromptTemplate::MistralInstructSystem, "Be brief."), format!("<s>{inst}"));
    assert_eq!(prompt(PromptTemplate::MistralInstruct, "Be brief."), format!("<s>{inst}"));
    assert_eq!(prompt(PromptTemplate::LlavaLlama2, "Be brief."), inst);
    assert_eq!(prompt(PromptTemplate::V1, "Be brief."), "Be brief. USER: Hi ASSISTANT:");
    assert_eq!(prompt(PromptTemplate::Plain, "Be brief."), "Be brief.Hi\n");
}

#[test]
fn an_empty_system_text_leaves_it_out() {
    let prompt = |template| render(template, Some(""), &question("Hi"));
    assert_eq!(prompt(PromptTemplate::MistralInstructSystem), "<s>[INST] Hi [/INST]");
    assert_eq!(prompt(PromptTemplate::V1), " USER: Hi ASSISTANT:");
}

#[test]
fn an_empty_conversation_or_question_is_no_panic() {
    for template in PromptTemplate::ALL {
        render(template, None, &[]);
        render(template, None, &question(""));
        render(template, None, &[Message::answer()]);
        render(template, None, &[Message::user("a"), Message::assistant(""), Message::user("b")]);
    }
    assert_eq!(render(PromptTemplate::MistralInstruct, None, &question("")), "<s>[INST]  [/INST]");
}

#[test]
fn an_image_mark_is_one_id_wherever_it_stands() {
    let tokenizer = tokenizer();
    let ids = |prompt: &str| tokenize_prompt(&tokenizer, prompt).unwrap();
    assert_eq!(ids(""), [1]);
    assert_eq!(ids("<image>"), [1, IMAGE_TOKEN_ID]);
    assert_eq!(ids("<image><image>"), [1, IMAGE_TOKEN_ID, IMAGE_TOKEN_ID]);
    assert_eq!(ids("a<image>a"), [1, 264, IMAGE_TOKEN_ID, 264]);
    assert_eq!(ids("<image"), [vec![1], ids("<image")[1..].to_vec()].concat());
    assert!(!ids("< image>").contains(&IMAGE_TOKEN_ID));
    assert_eq!(count_image_marks("<image>\n<image> <imag>"), 2);
}

#[test]
fn a_prompt_that_begins_with_bos_has_two() {
    let prompt = render(PromptTemplate::MistralInstruct, None, &question("Hi"));
    assert_eq!(tokenize_prompt(&tokenizer(), &prompt).unwrap()[..2], [1, 1]);
}
