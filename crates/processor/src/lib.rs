//! What turns user input into model input: images to pixels, text to ids, conversations to prompts.
//!
//! - [`load_image`] and [`decode_image`] give the pixels that PIL's `convert("RGB")` gives;
//!   [`ImageProcessor`] makes `pixel_values` of them, equal bit for bit to what Hugging Face's
//!   `CLIPImageProcessor` computes.
//! - [`Tokenizer`] turns text into ids as the slow `LlamaTokenizer` does; [`StreamDecoder`] turns
//!   ids into text as they come.
//! - [`render`] lays out a conversation as CuMo's `conversation.py` does; [`tokenize_prompt`] makes
//!   the ids of it, with [`IMAGE_TOKEN_ID`] where an image goes.

mod error;
mod image;
mod prompt;
mod tokenizer;

pub use error::{Error, Result};
pub use image::{
    ImageLimits, ImageProcessor, RgbImage, decode_image, decode_named_image, load_image,
};
pub use prompt::{
    IMAGE_MARK, IMAGE_TOKEN_ID, Message, Role, SeparatorStyle, Template, count_image_marks, render,
    template, tokenize_prompt,
};
pub use tokenizer::{StreamDecoder, Tokenizer, panic_is_caught};
