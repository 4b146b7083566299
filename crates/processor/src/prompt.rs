//! From a conversation to a prompt, and from a prompt to ids.

mod render;
mod template;
mod tokenize;

pub use render::{Message, Role, render};
pub use template::{SeparatorStyle, Template, template};
pub use tokenize::{IMAGE_MARK, IMAGE_TOKEN_ID, count_image_marks, tokenize_prompt};
