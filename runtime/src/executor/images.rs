//! Images of an executor: pixels to embeddings, and embeddings into their places among the text.

use cumo_bundle::{Dtype, Phase, names};

use super::{Executor, Position};
use crate::backend::{BackendError, Buffer};
use crate::error::{Error, PromptError};
use crate::shape::Sizes;
use crate::step::Stage;
use crate::tensor;

/// Crops that the vision tower sees at once; an image with more goes alone. Bounds the memory of
/// the attention between the tokens of a crop.
const MAX_CROPS: usize = 16;

/// An image as the language model sees it, `[image_tokens, hidden]` in the backend's memory. No two
/// are equal, also where one lies in the memory that another had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageEmbeds {
    buffer: Buffer,
    /// How many there were before.
    number: u64,
}

/// Memory of images that were released, for those that come: a device allocates slowly.
#[derive(Debug, Default)]
pub(super) struct ImageMemory {
    spare: Vec<Buffer>,
    /// Images that have memory.
    live: Vec<ImageEmbeds>,
    /// How many images were given memory.
    given: u64,
}

impl Executor {
    /// Turns normalised pixels, `[images, 3, size, size]`, into embeddings, some images at a time.
    ///
    /// # Errors
    /// [`Error::Backend`], also where it was interrupted.
    pub fn encode_images(&mut self, pixels: &[f32]) -> Result<Vec<ImageEmbeds>, Error> {
        self.load(Phase::EncodeImages)?;
        let facts = &self.manifest.model;
        let image_values = facts.image.size.saturating_pow(2).saturating_mul(3);
        let most = self.backend.limits().images;
        let batch = most
            .unwrap_or(MAX_CROPS / self.image_sizes(1).crops.max(1))
            .clamp(1, (pixels.len() / image_values).max(1));
        self.make_room(Phase::EncodeImages, self.image_sizes(batch))?;
        let mut embeds = Vec::new();
        for chunk in pixels.chunks(image_values * batch) {
            let result = self
                .encode_batch(chunk, chunk.len() / image_values, &mut embeds)
                // A device works behind its caller, which is not to be many images ahead of it.
                .and_then(|()| self.finish());
            if let Err(error) = result {
                embeds.into_iter().for_each(|embeds| self.release_images(embeds));
                return Err(error);
            }
        }
        Ok(embeds)
    }

    /// The sizes of a pass over so many images.
    fn image_sizes(&self, images: usize) -> Sizes {
        let scales = &self.manifest.model.vision.scales;
        let per_image = scales
            .iter()
            .fold(0, |sum: usize, scale| sum.saturating_add(scale.saturating_mul(*scale)));
        Sizes { images, crops: images.saturating_mul(per_image), ..Sizes::default() }
    }

    /// Encodes images in one pass and adds them to `embeds`.
    fn encode_batch(
        &mut self,
        pixels: &[f32],
        images: usize,
        embeds: &mut Vec<ImageEmbeds>,
    ) -> Result<(), Error> {
        let start = self.clock.now();
        let input = self.activations.require(names::PIXEL_VALUES)?;
        self.bytes.clear();
        tensor::encode(pixels, input.dtype, &mut self.bytes);
        self.backend.write(input.buffer, 0, &self.bytes)?;
        self.end_stage(Stage::Copy, start)?;
        self.run(Phase::EncodeImages, self.image_sizes(images))?;
        let start = self.clock.now();
        let output = self.activations.require(names::IMAGE_EMBEDS)?.buffer;
        let image_bytes = self.image_bytes()?;
        for image in 0..images {
            let own = self.image_memory(image_bytes)?;
            embeds.push(own);
            self.backend.copy((output, image * image_bytes), (own.buffer, 0), image_bytes)?;
        }
        self.end_stage(Stage::Copy, start)
    }

    /// Takes an image's embeddings that were computed elsewhere, `[image_tokens, hidden]`.
    ///
    /// # Errors
    /// [`Error::ImageValues`] where they are not as many; [`Error::Backend`].
    pub fn put_image(&mut self, values: &[f32]) -> Result<ImageEmbeds, Error> {
        self.load(Phase::EncodeImages)?;
        let (wanted, dtype) = self.image_values()?;
        if values.len() != wanted {
            return Err(Error::ImageValues { values: values.len(), wanted });
        }
        self.bytes.clear();
        tensor::encode(values, dtype, &mut self.bytes);
        let embeds = self.image_memory(self.bytes.len())?;
        if let Err(error) = self.backend.write(embeds.buffer, 0, &self.bytes) {
            self.release_images(embeds);
            return Err(error.into());
        }
        Ok(embeds)
    }

    /// Memory for one image's embeddings, of which all images have as many.
    fn image_memory(&mut self, bytes: usize) -> Result<ImageEmbeds, Error> {
        let buffer = match self.image_memory.spare.pop() {
            Some(buffer) => buffer,
            None => self.backend.allocate(bytes)?,
        };
        let number = self.image_memory.given;
        self.image_memory.given += 1;
        let embeds = ImageEmbeds { buffer, number };
        self.image_memory.live.push(embeds);
        Ok(embeds)
    }

    /// Gives an image's memory back: the next image has it, or, where as many lie ready as go
    /// through the tower at once, the backend. A second time has no effect.
    pub fn release_images(&mut self, embeds: ImageEmbeds) {
        let ImageMemory { spare, live, .. } = &mut self.image_memory;
        let Some(index) = live.iter().position(|image| *image == embeds) else { return };
        live.swap_remove(index);
        match spare.len() < self.backend.limits().images.unwrap_or(MAX_CROPS) {
            true => spare.push(embeds.buffer),
            false => self.backend.release(embeds.buffer),
        }
    }

    /// Writes the rows of images over the embeddings of their places, a run of rows at a time.
    pub(super) fn splice(
        &mut self,
        positions: &[Position],
        images: &[ImageEmbeds],
    ) -> Result<(), Error> {
        let target = self.activations.require(names::INPUTS_EMBEDS)?.buffer;
        let image_bytes = self.image_bytes()?;
        let row_bytes = image_bytes / self.manifest.model.vision.image_tokens.max(1);
        let mut place = 0;
        while let Some(position) = positions.get(place) {
            let Position::Image { image, row } = *position else {
                place += 1;
                continue;
            };
            let run = positions[place..]
                .iter()
                .enumerate()
                .take_while(|(step, next)| **next == Position::Image { image, row: row + step })
                .count();
            let Some(embeds) = images.get(image) else {
                return Err(
                    PromptError::ImageCount { marks: image + 1, images: images.len() }.into()
                );
            };
            if !self.image_memory.live.contains(embeds) {
                // Its memory may be another's by now.
                return Err(
                    BackendError::OutOfBounds { offset: 0, end: image_bytes, size: 0 }.into()
                );
            }
            self.backend.copy(
                (embeds.buffer, row * row_bytes),
                (target, place * row_bytes),
                run * row_bytes,
            )?;
            place += run;
        }
        Ok(())
    }

    /// Numbers of one image's embeddings, and their type.
    fn image_values(&self) -> Result<(usize, Dtype), Error> {
        let dtype = self.activations.dtype(names::IMAGE_EMBEDS)?;
        let facts = &self.manifest.model;
        Ok((facts.vision.image_tokens.saturating_mul(facts.llm.hidden_size), dtype))
    }

    /// Bytes of one image's embeddings.
    fn image_bytes(&self) -> Result<usize, Error> {
        self.image_values().map(|(values, dtype)| values.saturating_mul(dtype.size()))
    }

    /// Images can be put among the text only if both are of one type.
    pub(super) fn check_splice(&self) -> Result<(), Error> {
        let dtype = |name: &str| self.activations.dtype(name).ok();
        match (dtype(names::IMAGE_EMBEDS), dtype(names::INPUTS_EMBEDS)) {
            (Some(images), Some(text)) if images != text => Err(Error::Splice { images, text }),
            _ => Ok(()),
        }
    }
}
