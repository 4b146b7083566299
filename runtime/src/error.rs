//! What can go wrong in the runtime.

use std::io;
use std::path::PathBuf;

use cumo_bundle::Dtype;

use crate::backend::BackendError;

/// A bundle could not be loaded or run, or a request cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bundle is not whole or contradicts itself.
    #[error(transparent)]
    Bundle(#[from] cumo_bundle::Error),
    /// An image, a tokenizer or a template.
    #[error(transparent)]
    Processor(#[from] cumo_processor::Error),
    /// The backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A folder needs a backend that this program was built without.
    #[error(
        "{path} holds {holds}, which {backend} runs: this program was built without it (feature `{feature}`); {instead}"
    )]
    NoBackend {
        /// The folder.
        path: PathBuf,
        /// What is in it.
        holds: &'static str,
        /// What runs that.
        backend: &'static str,
        /// The feature of Cargo's that brings it.
        feature: &'static str,
        /// What can be done without it.
        instead: &'static str,
    },
    /// A bundle for TensorRT where there are no engines of it and no ONNX Runtime either.
    #[error(
        "{path} is a bundle for TensorRT: on an NVIDIA GPU, build engines of it with `cumo-export \
         engine {path} -o ENGINES` and run those. To run it on the processor: {cause}"
    )]
    NoEngines {
        /// The bundle.
        path: PathBuf,
        /// Why it does not run as it is. No `source`: the message has all of it.
        cause: Box<BackendError>,
    },
    /// A file beside the bundle could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The request's prompt cannot be answered.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// An option has a value that makes no sense.
    #[error("{option} is {value}; it must be {allowed}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// What was given.
        value: String,
        /// What can be given.
        allowed: &'static str,
    },
    /// A graph's shape has a symbol that this program does not know.
    #[error("graph `{graph}`: `{value}` has the size `{symbol}`, which this program does not know")]
    UnknownSymbol {
        /// The graph's name.
        graph: String,
        /// The input or output.
        value: String,
        /// The symbol.
        symbol: String,
    },
    /// A tensor has one type where it is made and another where it is read.
    #[error(
        "the bundle's plan makes `{name}` {first} in one graph and reads it as {second} in another"
    )]
    ActivationTypes {
        /// The activation.
        name: String,
        /// One type.
        first: Dtype,
        /// The other.
        second: Dtype,
    },
    /// Images and text are embedded in different types.
    #[error(
        "the bundle embeds images as {images} and text as {text}: images cannot be put into text"
    )]
    Splice {
        /// Type of `image_embeds`.
        images: Dtype,
        /// Type of `inputs_embeds`.
        text: Dtype,
    },
    /// An image's embeddings are not as many as the model's.
    #[error("{values} numbers were given for an image, the model's images have {wanted}")]
    ImageValues {
        /// What was given.
        values: usize,
        /// What an image has.
        wanted: usize,
    },
    /// The plan never makes or reads a tensor of this name.
    #[error("the bundle's plan has no activation `{0}`")]
    NoActivation(String),
    /// A step reads a weight that the bundle does not have.
    #[error("the bundle has no weight `{0}`")]
    NoWeight(String),
    /// A file of weights is shorter than it was when the bundle was opened.
    #[error("weight `{name}` is bytes {offset}..{end} of its file, which has {size} now")]
    CutWeights {
        /// The weight.
        name: String,
        /// Its first byte.
        offset: usize,
        /// One behind its last byte.
        end: usize,
        /// Bytes of the file.
        size: usize,
    },
    /// More positions were asked for than the bundle's longest cache has.
    #[error("{positions} positions were asked for, the bundle's longest cache has {longest}")]
    BeyondCache {
        /// Positions that were asked for.
        positions: usize,
        /// Positions of the ladder's last rung.
        longest: usize,
    },
    /// The model answered with something that is not a number.
    #[error(
        "the model's logits behind position {position} are not finite (token {token} has {value}); the weights or the precision are at fault"
    )]
    NotFinite {
        /// Positions in the cache.
        position: usize,
        /// The first token whose logit is at fault.
        token: usize,
        /// Its logit.
        value: f32,
    },
    /// A graph gave a token that there is not.
    #[error("the model's best tokens have id {id}, its vocabulary has {vocab_size}")]
    Candidate {
        /// The token.
        id: f32,
        /// Tokens of the vocabulary.
        vocab_size: usize,
    },
    /// There is no token to choose: logits are finite, and only a bias of minus infinity rules out.
    #[error("every token is ruled out by logit bias")]
    NoCandidate,
    /// Text was given or asked for and the bundle has no tokenizer.
    #[error(
        "this bundle has no tokenizer; only prompts of ids work with it (`cumo run --prompt-ids`)"
    )]
    NoTokenizer,
}

/// A prompt that cannot be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PromptError {
    /// There is nothing in it.
    #[error("the prompt is empty")]
    Empty,
    /// It has an id that is no token.
    #[error(
        "id {id} at place {place} of the prompt is outside the vocabulary of {vocab_size} tokens (and is not -200, an image)"
    )]
    UnknownToken {
        /// The id.
        id: i64,
        /// Its place, counted from 0.
        place: usize,
        /// Tokens in the vocabulary.
        vocab_size: usize,
    },
    /// It leaves no room for an answer.
    #[error(
        "the prompt has {length} positions ({tokens} tokens and {images} images of {image_tokens}), the model's context has {context_length}: there is no room for an answer"
    )]
    TooLong {
        /// Positions of the prompt.
        length: usize,
        /// Of these, text tokens.
        tokens: usize,
        /// Images.
        images: usize,
        /// Positions of one image.
        image_tokens: usize,
        /// Positions that the model can hold.
        context_length: usize,
    },
    /// There are more or fewer images than marks.
    #[error("{marks} `<image>` marks in the prompt and {images} images: each mark needs one image")]
    ImageCount {
        /// `<image>` marks, or ids of -200.
        marks: usize,
        /// Images.
        images: usize,
    },
}
