//! From a prompt to ids (`tokenizer_image_token`).

use crate::error::Result;
use crate::tokenizer::Tokenizer;

/// Stands for an image among ids.
pub const IMAGE_TOKEN_ID: i64 = -200;

/// Stands for an image in text.
pub const IMAGE_MARK: &str = "<image>";

/// How many images a text wants.
pub fn count_image_marks(text: &str) -> usize {
    text.matches(IMAGE_MARK).count()
}

/// The ids of a prompt, with [`IMAGE_TOKEN_ID`] for each `<image>`.
///
/// The texts between the marks are encoded one by one, each with BOS; only the first keeps it. A
/// prompt that begins with the text `<s>` gets two, on purpose: CuMo was trained so. No mark is
/// needed, and there may be nothing between two.
///
/// # Errors
/// As [`Tokenizer::encode`].
pub fn tokenize_prompt(tokenizer: &Tokenizer, prompt: &str) -> Result<Vec<i64>> {
    let mut ids = Vec::new();
    let mut bos = 0;
    for (index, chunk) in prompt.split(IMAGE_MARK).enumerate() {
        let chunk = tokenizer.encode(chunk)?;
        if index == 0 {
            let first = chunk.first().copied();
            bos = usize::from(first.is_some() && first == tokenizer.bos_id());
            ids.extend(chunk.iter().take(bos).copied().map(i64::from));
        } else {
            ids.push(IMAGE_TOKEN_ID);
        }
        ids.extend(chunk.iter().skip(bos).copied().map(i64::from));
    }
    Ok(ids)
}
