//! What can be typed after `cumo`.

mod answering;
mod bench;
mod measure;
mod model;
mod numbers;
mod plan;
#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use answering::prompt_ids;
pub(crate) use answering::{ConversationArgs, GenerationArgs, PromptIds};
pub(crate) use bench::{BenchArgs, BenchCommand, CompareArgs, CompareFormat, ReportArgs};
pub(crate) use measure::{MeasureArgs, ResultFormat, WorkArgs};
pub(crate) use model::ModelArgs;
use numbers::whole;
pub(crate) use plan::PlanArgs;

/// Answers questions about images with CuMo models.
#[derive(Debug, Parser)]
#[command(name = "cumo", version, max_term_width = 100, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(RunArgs),
    Chat(ChatArgs),
    Eval(EvalArgs),
    Tokenize(TokenizeArgs),
    Verify(VerifyArgs),
    Bench(BenchArgs),
    Plan(PlanArgs),
    Doctor(DoctorArgs),
}

/// Answer one question.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cumo run --model bundle --image cat.png --prompt \"What is on the table?\"
  cumo run --model bundle --image a.png --image b.png --prompt \"<image> or <image>: which is older?\"
  curl -s https://example.org/cat.png | cumo run --model bundle --image - --prompt \"What is this?\"
  cumo run --model bundle --prompt-ids 1,5,-200,7 --image cat.png --temperature 0 --json
  cumo run --model engines --device 1 --image cat.png --prompt \"What is on the table?\"

The answer has no white space around it. Ctrl-C ends it (exit code 130) and prints what there is; a \
second one, or one before the answer has begun, ends the program at once.
In JSON, finish_reason is `stop` (the model ended it), `stop_string`, `length` (it has \
max_new_tokens, which is less than was asked for where the context is full) or `cancelled`.")]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// An image (PNG, JPEG, WebP, BMP, GIF), `-` for standard input; give it again for more, in the
    /// order of the `<image>` marks
    #[arg(short, long, value_name = "FILE")]
    pub(crate) image: Vec<PathBuf>,
    /// The question. Without `<image>` marks the images come before it
    #[arg(short, long, value_name = "TEXT", required_unless_present = "prompt_ids")]
    pub(crate) prompt: Option<String>,
    /// The whole prompt as ids, with -200 for each image; needs no tokenizer
    #[arg(
        long,
        value_name = "IDS",
        value_parser = prompt_ids,
        allow_hyphen_values = true,
        conflicts_with_all = ["prompt", "system", "template"]
    )]
    pub(crate) prompt_ids: Option<PromptIds>,
    #[command(flatten)]
    pub(crate) conversation: ConversationArgs,
    #[command(flatten)]
    pub(crate) generation: GenerationArgs,
    /// Print one JSON object: text, tokens, counts, finish_reason and milliseconds of every stage
    #[arg(long)]
    pub(crate) json: bool,
    /// With --json, give the log-probability of each token and of this many most probable ones
    #[arg(
        long,
        value_name = "N",
        value_parser = whole::<usize>,
        allow_negative_numbers = true,
        requires = "json"
    )]
    pub(crate) logprobs: Option<usize>,
    /// Print the time of every stage to standard error
    #[arg(long)]
    pub(crate) timings: bool,
}

/// Talk about images, turn by turn.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cumo chat --model bundle --image cat.png
  printf 'What is this?\\n/exit\\n' | cumo chat --model bundle --image cat.png

While it runs:
  /image FILE   puts an image before the next question
  /reset        forgets the conversation and its images
  /help         lists these
  /exit         ends (so do /quit and Ctrl-D)
  Ctrl-C        ends the answer, not the program; a second one ends the program

Earlier turns stay in the cache and are not computed again.
Where lines come from a pipe or a file, an error is told with its line and the next line is read; \
the exit code is then 1.")]
pub(crate) struct ChatArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// An image for the first question; give it again for more
    #[arg(short, long, value_name = "FILE")]
    pub(crate) image: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) conversation: ConversationArgs,
    #[command(flatten)]
    pub(crate) generation: GenerationArgs,
}

/// Answer a file of questions, and count the right answers where they are known.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cumo eval --model bundle --question-file q.jsonl --image-folder images --answers-file a.jsonl
  cumo eval --model bundle --question-file q.jsonl --image-folder images --answers-file a0.jsonl \\
      --num-chunks 4 --chunk-idx 0

Questions, one JSON object a line: question_id, text, image (a file in the image folder; may be \
absent), and for counting: answer, category.
Answers, one JSON object a line: question_id, prompt, text, answer_id, model_id, metadata (with \
the SHA-256 of the manifest that the model has: bundle_sha256, engines_sha256).
Questions that the answers file has are not asked again, so an interrupted run goes on where it \
stopped; a file with answers of another model is refused. An answer is right where it \
equals `answer` once white space around both is taken away.")]
pub(crate) struct EvalArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Questions, as JSONL
    #[arg(long, value_name = "FILE")]
    pub(crate) question_file: PathBuf,
    /// Where the questions' images are
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) image_folder: PathBuf,
    /// Where the answers go, as JSONL
    #[arg(long, value_name = "FILE")]
    pub(crate) answers_file: PathBuf,
    /// Cut the questions into this many chunks of (almost) equal size
    #[arg(
        long,
        value_name = "N",
        default_value = "1",
        value_parser = chunks,
        allow_negative_numbers = true
    )]
    pub(crate) num_chunks: NonZeroUsize,
    /// Answer this chunk only, counted from 0
    #[arg(
        long,
        value_name = "K",
        default_value_t = 0,
        value_parser = whole::<usize>,
        allow_negative_numbers = true
    )]
    pub(crate) chunk_idx: usize,
    #[command(flatten)]
    pub(crate) conversation: ConversationArgs,
    #[command(flatten)]
    pub(crate) generation: GenerationArgs,
    /// Print the counts as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Turn text, or a conversation, from standard input into ids.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  echo -n 'What is this?' | cumo tokenize --tokenizer tokenizer.model
  echo '[{\"role\": \"user\", \"content\": \"<image>\\nWhat is this?\"}]' |
      cumo tokenize --model bundle
  echo '[{\"role\": \"user\", \"content\": \"Hi\"}]' |
      cumo tokenize --tokenizer tokenizer.model --template mistral_instruct_system

A JSON list of messages (role and content; user and assistant take turns, a first one may be the \
system's) is laid out with the template; an answer is asked for where the last message is the \
user's. Anything else is text and is taken as it is. `<image>` becomes -200.")]
pub(crate) struct TokenizeArgs {
    /// A bundle or engines with a tokenizer; or give --tokenizer
    #[arg(short, long, value_name = "DIR", required_unless_present = "tokenizer")]
    pub(crate) model: Option<PathBuf>,
    /// A tokenizer.model or tokenizer.json, in place of --model
    #[arg(long, value_name = "FILE", conflicts_with = "model")]
    pub(crate) tokenizer: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) conversation: ConversationArgs,
}

/// Check every file of a bundle or of engines against the sizes and hashes in its manifest.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cumo verify --model bundle
  cumo verify --model bundle --json

The exit code is 1 where a file is missing or not as it was written. Files in the folder that the \
manifest does not list are named and not read; they change nothing.")]
pub(crate) struct VerifyArgs {
    /// The bundle or the engines
    #[arg(short, long, value_name = "DIR")]
    pub(crate) model: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Show what this machine has for running models, what mends what is missing, and what to change
/// for speed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cumo doctor
  cumo doctor --json
  cumo doctor --root /host     # in a container that has the host's files there

On a Jetson it names board, JetPack, TensorRT, power mode, clocks, temperatures, throttling and \
swap.
The exit code is 0 where bundles or engines can run.")]
pub(crate) struct DoctorArgs {
    /// Look at the machine whose /proc, /sys, /etc and so on lie below this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

fn chunks(text: &str) -> Result<NonZeroUsize, String> {
    NonZeroUsize::new(whole(text)?).ok_or_else(|| "it must be 1 or more".to_owned())
}
