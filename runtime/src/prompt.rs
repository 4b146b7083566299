//! From ids to the positions that the language model sees.

use cumo_bundle::ModelFacts;
use cumo_processor::IMAGE_TOKEN_ID;

use crate::error::PromptError;
use crate::executor::Position;

/// Ids that a model can be asked with: checked, and laid out with the images in their places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    positions: Vec<Position>,
    image_positions: usize,
}

impl Prompt {
    /// Checks ids, of which [`IMAGE_TOKEN_ID`] stands for an image each, for a model and a number of
    /// images.
    ///
    /// # Errors
    /// [`PromptError`] where there are no ids, one is outside the vocabulary, the images are more or
    /// fewer than their marks, or there is no room for an answer in the model's context.
    pub fn new(ids: &[i64], images: usize, model: &ModelFacts) -> Result<Self, PromptError> {
        if ids.is_empty() {
            return Err(PromptError::Empty);
        }
        let vocab_size = model.llm.vocab_size;
        let in_vocabulary =
            |id: i64| u32::try_from(id).ok().filter(|id| (*id as usize) < vocab_size);
        let unknown = |id: &i64| *id != IMAGE_TOKEN_ID && in_vocabulary(*id).is_none();
        if let Some(place) = ids.iter().position(unknown) {
            return Err(PromptError::UnknownToken { id: ids[place], place, vocab_size });
        }
        let marks = ids.iter().filter(|id| **id == IMAGE_TOKEN_ID).count();
        if marks != images {
            return Err(PromptError::ImageCount { marks, images });
        }
        let (tokens, image_tokens) = (ids.len() - marks, model.vision.image_tokens);
        let image_positions = marks.saturating_mul(image_tokens);
        let length = tokens.saturating_add(image_positions);
        let context_length = model.llm.context_length;
        if length >= context_length {
            return Err(PromptError::TooLong {
                length,
                tokens,
                images,
                image_tokens,
                context_length,
            });
        }
        let mut positions = Vec::with_capacity(length);
        let mut image = 0;
        for id in ids {
            match in_vocabulary(*id) {
                Some(token) => positions.push(Position::Token(token)),
                None => {
                    positions.extend((0..image_tokens).map(|row| Position::Image { image, row }));
                    image += 1;
                }
            }
        }
        Ok(Prompt { positions, image_positions })
    }

    /// What the language model sees, in order.
    pub fn positions(&self) -> &[Position] {
        &self.positions
    }

    /// Positions that belong to images.
    pub fn image_positions(&self) -> usize {
        self.image_positions
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn prompt(ids: &[i64], images: usize) -> Result<Prompt, String> {
        Prompt::new(ids, images, &testing::facts()).map_err(|error| error.to_string())
    }

    #[test]
    fn images_take_their_tokens_places() {
        let prompt = prompt(&[1, -200, 7], 1).unwrap();
        let expected = [
            Position::Token(1),
            Position::Image { image: 0, row: 0 },
            Position::Image { image: 0, row: 1 },
            Position::Image { image: 0, row: 2 },
            Position::Token(7),
        ];
        assert_eq!(prompt.positions(), expected);
        assert_eq!(prompt.image_positions(), 3);
    }

    #[test]
    fn an_empty_prompt_is_refused() {
        assert_eq!(prompt(&[], 0).unwrap_err(), "the prompt is empty");
    }

    #[test]
    fn ids_outside_the_vocabulary_are_named_with_their_place() {
        for id in [32, -1, -201, i64::MAX, i64::MIN] {
            let error = prompt(&[1, id], 0).unwrap_err();
            assert!(error.starts_with(&format!("id {id} at place 1 of the prompt is outside")));
            assert!(error.contains("vocabulary of 32 tokens"), "{error}");
        }
    }

    #[test]
    fn images_and_marks_must_be_as_many() {
        for (ids, images) in [(&[1_i64, -200][..], 0), (&[1, -200], 2), (&[1], 1)] {
            let error = prompt(ids, images).unwrap_err();
            let marks = ids.len() - 1;
            assert_eq!(
                error,
                format!(
                    "{marks} `<image>` marks in the prompt and {images} images: each mark needs one image"
                )
            );
        }
    }

    #[test]
    fn a_prompt_longer_than_the_context_says_the_numbers() {
        let mut ids = vec![1; 62];
        ids.push(-200);
        let error = prompt(&ids, 1).unwrap_err();
        assert!(
            error
                .contains("65 positions (62 tokens and 1 images of 3), the model's context has 64"),
            "{error}"
        );
        // A prompt that fills the context leaves no room for an answer either.
        assert!(prompt(&[1; 64], 0).is_err());
        prompt(&[1; 63], 0).unwrap();
    }
}
