//! An opened bundle, ready to answer.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cumo_bundle::{ModelFacts, Phase, PromptTemplate};
use cumo_processor::{
    ImageLimits, ImageProcessor, Message, RgbImage, Tokenizer, count_image_marks,
    decode_named_image, load_image, render, tokenize_prompt,
};

use crate::backends::{self, BackendOptions, Opened};
use crate::cancel::CancelToken;
use crate::error::Error;
use crate::executor::{Executor, ImageEmbeds};
use crate::generate::{Answer, Event, GenerateOptions, Generator, Request};

/// How a bundle or a folder of engines is opened.
#[derive(Debug, Clone, Default)]
pub struct ModelOptions {
    /// Settings of the backends.
    pub backend: BackendOptions,
    /// How large an image may be.
    pub images: ImageLimits,
}

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageSource {
    /// A file, read when the image is encoded.
    File(PathBuf),
    /// The bytes of a file that was read before.
    Bytes {
        /// What messages call it.
        name: PathBuf,
        /// The file's content.
        bytes: Vec<u8>,
    },
}

impl ImageSource {
    fn decode(&self, limits: &ImageLimits) -> Result<RgbImage, Error> {
        Ok(match self {
            ImageSource::File(path) => load_image(path, limits)?,
            ImageSource::Bytes { name, bytes } => decode_named_image(name, bytes, limits)?,
        })
    }
}

/// Time that images took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ImageTimes {
    /// Loading the vision and connector graphs, the first time.
    pub load: Duration,
    /// Reading and decoding.
    pub decode: Duration,
    /// Resizing and normalising.
    pub preprocess: Duration,
    /// Pixels into the backend's memory, embeddings into memory of their own.
    pub copy: Duration,
    /// The vision tower.
    pub vision: Duration,
    /// The connector.
    pub connector: Duration,
}

/// A bundle on a backend, with its tokenizer and its image preprocessing.
pub struct Model {
    facts: ModelFacts,
    tokenizer: Option<Tokenizer>,
    processor: ImageProcessor,
    limits: ImageLimits,
    generator: Generator,
    load: Duration,
}

impl Model {
    /// Opens a bundle or a folder of engines, on the backend that it is for: checks its manifest and
    /// the sizes of its files, and loads the language model. The vision tower is loaded with the
    /// first image, or by [`Model::load_vision`].
    ///
    /// # Errors
    /// [`Error::Bundle`], [`Error::NoBackend`], [`Error::Processor`] for its tokenizer,
    /// [`Error::Backend`].
    pub fn open(path: &Path, options: &ModelOptions) -> Result<Self, Error> {
        let start = Instant::now();
        let Opened { bundle, backend } = backends::open(path, &options.backend)?;
        let facts = bundle.manifest.model.clone();
        let tokenizer = match facts.tokenizer {
            Some(kind) => Some(Tokenizer::open(&bundle.file(kind.file_name()))?),
            None => None,
        };
        let mut executor = Executor::new(&bundle, backend)?;
        executor.load(Phase::EmbedTokens)?;
        executor.load(Phase::Decode)?;
        Ok(Model {
            tokenizer,
            processor: ImageProcessor::new(&facts.image),
            limits: options.images,
            generator: Generator::new(executor, facts.clone()),
            facts,
            load: start.elapsed(),
        })
    }

    /// What the model is.
    pub fn facts(&self) -> &ModelFacts {
        &self.facts
    }

    /// Its tokenizer, where the bundle has one.
    pub fn tokenizer(&self) -> Option<&Tokenizer> {
        self.tokenizer.as_ref()
    }

    /// Loads what images need, unless it is loaded: a model that is to be asked about images is ready
    /// only then.
    ///
    /// # Errors
    /// [`Error::Backend`].
    pub fn load_vision(&mut self) -> Result<(), Error> {
        let start = Instant::now();
        self.generator.executor().load(Phase::EncodeImages)?;
        self.load = self.load.saturating_add(start.elapsed());
        Ok(())
    }

    /// Time that opening took, and [`Model::load_vision`].
    pub fn load_time(&self) -> Duration {
        self.load
    }

    /// What the user should know since the last call, a sentence each.
    pub fn take_notes(&mut self) -> Vec<String> {
        self.generator.executor().take_notes()
    }

    /// Keeps on disk what makes a later start faster, as kernels that TensorRT-RTX has compiled: to
    /// be called when an answer is complete. What goes wrong is a note; what is compiled later is
    /// kept when the model is dropped.
    pub fn keep_compiled(&mut self) {
        self.generator.executor().keep_compiled();
    }

    /// The executor, for looking at activations and for timing.
    pub fn executor(&mut self) -> &mut Executor {
        self.generator.executor()
    }

    /// Reads images and turns them into embeddings. They stay in memory until
    /// [`Model::release_images`].
    ///
    /// # Errors
    /// [`Error::Processor`] names the image; [`Error::Backend`], also where it was cancelled.
    pub fn encode_images(
        &mut self,
        paths: &[PathBuf],
        cancel: &CancelToken,
    ) -> Result<(Vec<ImageEmbeds>, ImageTimes), Error> {
        let sources: Vec<_> = paths.iter().cloned().map(ImageSource::File).collect();
        self.encode_sources(&sources, cancel)
    }

    /// As [`Model::encode_images`], of images that may have been read before.
    ///
    /// # Errors
    /// As [`Model::encode_images`].
    pub fn encode_sources(
        &mut self,
        sources: &[ImageSource],
        cancel: &CancelToken,
    ) -> Result<(Vec<ImageEmbeds>, ImageTimes), Error> {
        let mut times = ImageTimes::default();
        if sources.is_empty() {
            return Ok((Vec::new(), times));
        }
        let clock = self.generator.executor().clock().clone();
        let start = clock.now();
        let values = self.processor.num_values();
        let mut pixels = vec![0.0; values.saturating_mul(sources.len())];
        times.preprocess = clock.since(start);
        for (source, pixels) in sources.iter().zip(pixels.chunks_exact_mut(values)) {
            let start = clock.now();
            let image = source.decode(&self.limits)?;
            let decoded = clock.now();
            self.processor.process_into(&image, pixels);
            times.decode += decoded.saturating_sub(start);
            times.preprocess += clock.since(decoded);
        }

        let executor = self.generator.executor();
        let start = clock.now();
        executor.load(Phase::EncodeImages)?;
        times.load = clock.since(start);
        executor.take_times();
        cancel.arm(executor.interrupt());
        let embeds = executor.encode_images(&pixels);
        cancel.disarm();
        let steps = executor.take_times();
        times.copy = steps.copy;
        (times.vision, times.connector) = (steps.vision, steps.connector);
        Ok((embeds?, times))
    }

    /// Forgets all that is cached, as [`Generator::forget`].
    ///
    /// # Errors
    /// [`Error::Backend`].
    pub fn forget(&mut self) -> Result<(), Error> {
        self.generator.forget()
    }

    /// Gives images' memory back.
    pub fn release_images(&mut self, images: impl IntoIterator<Item = ImageEmbeds>) {
        for image in images {
            self.generator.executor().release_images(image);
        }
    }

    /// The ids of a conversation that an answer is asked for, with -200 for each `<image>`.
    ///
    /// # Errors
    /// [`Error::NoTokenizer`], [`Error::Processor`].
    pub fn tokenize(
        &self,
        template: Option<PromptTemplate>,
        system: Option<&str>,
        messages: &[Message],
    ) -> Result<Vec<i64>, Error> {
        let tokenizer = self.tokenizer.as_ref().ok_or(Error::NoTokenizer)?;
        let prompt = render(template.unwrap_or(self.facts.template), system, messages);
        Ok(tokenize_prompt(tokenizer, &prompt)?)
    }

    /// Answers a prompt of ids, of which -200 stands for an image each.
    ///
    /// # Errors
    /// As [`Generator::generate`].
    pub fn generate(
        &mut self,
        ids: &[i64],
        images: &[ImageEmbeds],
        options: &GenerateOptions,
        cancel: &CancelToken,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<Answer, Error> {
        let request = Request { ids, images, options, tokenizer: self.tokenizer.as_ref() };
        self.generator.generate(&request, cancel, on_event)
    }
}

#[cfg(test)]
impl Model {
    /// A model without a tokenizer on an executor of a test's.
    pub(crate) fn on(executor: Executor) -> Self {
        let facts = executor.manifest().model.clone();
        Model {
            tokenizer: None,
            processor: ImageProcessor::new(&facts.image),
            limits: ImageLimits::default(),
            generator: Generator::new(executor, facts.clone()),
            facts,
            load: Duration::ZERO,
        }
    }
}

/// The text of a question with its images: where it has no `<image>` mark, one is put before it for
/// each image, as the original's command line does.
///
/// # Errors
/// [`crate::PromptError`] where the text is empty, or has marks of another number than images.
pub fn question_text(text: &str, images: usize) -> Result<String, crate::PromptError> {
    let marks = count_image_marks(text);
    if text.trim().is_empty() {
        return Err(crate::PromptError::Empty);
    }
    match marks {
        0 => Ok("<image>\n".repeat(images) + text),
        marks if marks == images => Ok(text.to_owned()),
        marks => Err(crate::PromptError::ImageCount { marks, images }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_put_before_text_that_has_no_marks() {
        assert_eq!(question_text("What?", 0).unwrap(), "What?");
        assert_eq!(question_text("What?", 2).unwrap(), "<image>\n<image>\nWhat?");
        assert_eq!(question_text("A <image> b", 1).unwrap(), "A <image> b");
    }

    #[test]
    fn marks_without_images_empty_texts_and_other_numbers_are_refused() {
        assert!(
            question_text("A <image>", 0).unwrap_err().to_string().contains("1 `<image>` marks")
        );
        assert!(question_text("A <image>", 2).unwrap_err().to_string().contains("and 2 images"));
        assert_eq!(question_text(" \n", 1).unwrap_err().to_string(), "the prompt is empty");
    }
}
