//! Conversation templates as data: the ones of `conversation.py` that CuMo's models and LLaVA-1.5
//! were trained with.

use cumo_bundle::PromptTemplate;

/// A conversation template, with the names of `conversation.py`'s `Conversation`.
///
/// There are no stop strings: the original ends an answer at EOS only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Template {
    /// The system text that is used where none is given; may be empty.
    pub system: &'static str,
    /// What the user and the assistant are called.
    pub roles: [&'static str; 2],
    /// How the parts are put together.
    pub sep_style: SeparatorStyle,
    /// What ends the user's part.
    pub sep: &'static str,
    /// What ends the assistant's part.
    pub sep2: &'static str,
}

/// How the parts of a conversation are put together (`SeparatorStyle`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeparatorStyle {
    /// `system sep ROLE: text sep ROLE: text sep2 ...`
    Two,
    /// `<s>[INST] <<SYS>> system <</SYS>> text [/INST] text sep2 sep [INST] ...`
    Llama2,
    /// `system text sep text sep2 ...`
    Plain,
}

const USER_ASSISTANT: [&str; 2] = ["USER", "ASSISTANT"];

const VICUNA_SYSTEM: &str = "A chat between a curious user and an artificial intelligence \
    assistant. The assistant gives helpful, detailed, and polite answers to the user's questions.";

const LLAVA_LLAMA_2_SYSTEM: &str = "You are a helpful language and vision assistant. You are able \
    to understand the visual content that the user provides, and assist the user with a variety of \
    tasks using natural language.";

const MISTRAL_INSTRUCT: Template = Template {
    system: "",
    roles: USER_ASSISTANT,
    sep_style: SeparatorStyle::Llama2,
    sep: "",
    sep2: "</s>",
};

const MISTRAL_INSTRUCT_SYSTEM: Template = Template { system: VICUNA_SYSTEM, ..MISTRAL_INSTRUCT };

const V1: Template = Template {
    system: VICUNA_SYSTEM,
    roles: USER_ASSISTANT,
    sep_style: SeparatorStyle::Two,
    sep: " ",
    sep2: "</s>",
};

const LLAVA_LLAMA_2: Template = Template {
    system: LLAVA_LLAMA_2_SYSTEM,
    roles: USER_ASSISTANT,
    sep_style: SeparatorStyle::Llama2,
    sep: "<s>",
    sep2: "</s>",
};

/// The original has no `sep2` here: it cannot render an answer in this template.
const PLAIN: Template =
    Template { system: "", roles: ["", ""], sep_style: SeparatorStyle::Plain, sep: "\n", sep2: "" };

/// The data of a template.
pub fn template(name: PromptTemplate) -> &'static Template {
    match name {
        PromptTemplate::MistralInstruct => &MISTRAL_INSTRUCT,
        PromptTemplate::MistralInstructSystem => &MISTRAL_INSTRUCT_SYSTEM,
        PromptTemplate::V1 => &V1,
        PromptTemplate::LlavaLlama2 => &LLAVA_LLAMA_2,
        PromptTemplate::Plain => &PLAIN,
    }
}
