//! What can be typed after `cumo`.

mod bench;
mod measure;
mod plan;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::Result;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use cumo_bundle::PromptTemplate;
use cumo_runtime::machine::max_threads;
use cumo_runtime::{GenerateOptions, ModelOptions, SamplingOptions};

use super::backend_options::backend_options;
pub(crate) use bench::{BenchArgs, BenchCommand, CompareArgs, CompareFormat, ReportArgs};
pub(crate) use measure::{MeasureArgs, ResultFormat, WorkArgs};
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
  cumo run --model bundle --prompt-ids 1,5,-200,7 --image cat.png --temperature 0 --json
  cumo run --model engines --device 1 --image cat.png --prompt \"What is on the table?\"

The answer has no white space around it. Ctrl-C ends it (exit code 130) and prints what there is; a
second one, or one before the answer has begun, ends the program at once.
In JSON, finish_reason is `stop` (the model ended it), `stop_string`, `length` (it has
max_new_tokens, which is less than was asked for where the context is full) or `cancelled`.")]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// An image (PNG, JPEG, WebP, BMP, GIF); give it again for more, in the order of the `<image>`
    /// marks
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
Where lines come from a pipe or a file, an error is told with its line and the next line is read;
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

Questions, one JSON object a line: question_id, text, image (a file in the image folder; may be
absent), and for counting: answer, category.
Answers, one JSON object a line: question_id, prompt, text, answer_id, model_id, metadata.
Questions that the answers file has are not asked again, so an interrupted run goes on where it
stopped. An answer is right where it equals `answer` once white space around both is taken away.")]
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

A JSON list of messages (role and content; user and assistant take turns, a first one may be the
system's) is laid out with the template; an answer is asked for where the last message is the
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

The exit code is 1 where a file is missing or not as it was written.")]
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

On a Jetson it names board, JetPack, TensorRT, power mode, clocks, temperatures, throttling and swap.
The exit code is 0 where models can run on the CPU.")]
pub(crate) struct DoctorArgs {
    /// Look at the machine whose /proc, /sys, /etc and so on lie below this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ModelArgs {
    /// The bundle or the engines, a folder that `cumo-export` wrote
    #[arg(short, long, value_name = "DIR")]
    pub(crate) model: PathBuf,
    /// The NVIDIA device that runs engines, counted from 0
    #[arg(
        long,
        value_name = "N",
        value_parser = whole::<usize>,
        allow_negative_numbers = true,
        default_value_t = 0
    )]
    pub(crate) device: usize,
    /// Have the device read engines' weights from their files where these are mapped, without a
    /// copy: for devices that share the host's memory, as Jetson's do
    #[arg(long)]
    pub(crate) weights_in_place: bool,
    /// Threads that share the work on a CPU [default: the physical cores]
    #[arg(
        short,
        long,
        value_name = "N",
        value_parser = threads,
        allow_negative_numbers = true
    )]
    pub(crate) threads: Option<NonZeroUsize>,
}

impl ModelArgs {
    pub(crate) fn options(&self) -> ModelOptions {
        ModelOptions {
            backend: backend_options(self.threads, self.device, self.weights_in_place),
            ..ModelOptions::default()
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ConversationArgs {
    /// System text, in place of the template's own; empty for none
    #[arg(long, value_name = "TEXT")]
    pub(crate) system: Option<String>,
    /// Conversation template [default: the bundle's]
    #[arg(long, value_name = "NAME", value_parser = templates())]
    pub(crate) template: Option<PromptTemplate>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "How to answer")]
pub(crate) struct GenerationArgs {
    /// The longest answer in tokens; less where the model's context has no room [default: 512;
    /// eval: 128]
    #[arg(short = 'n', long, value_name = "N", value_parser = whole::<usize>, allow_negative_numbers = true)]
    max_new_tokens: Option<usize>,
    /// Randomness; 0 always takes the best token [default: 0.2; eval: 0]
    #[arg(long, value_name = "T", value_parser = number, allow_hyphen_values = true)]
    temperature: Option<f32>,
    /// Draw from this many best tokens; 0 is all
    #[arg(
        long,
        value_name = "K",
        value_parser = whole::<usize>,
        allow_negative_numbers = true,
        default_value_t = SamplingOptions::default().top_k
    )]
    top_k: usize,
    /// Draw from the fewest best tokens with this probability together
    #[arg(
        long,
        value_name = "P",
        value_parser = number,
        allow_hyphen_values = true,
        default_value_t = SamplingOptions::default().top_p
    )]
    top_p: f32,
    /// Draw from tokens with at least this much of the best one's probability
    #[arg(
        long,
        value_name = "P",
        value_parser = number,
        allow_hyphen_values = true,
        default_value_t = SamplingOptions::default().min_p
    )]
    min_p: f32,
    /// Divide the logits of tokens in prompt and answer by this; 1 is off
    #[arg(
        long,
        value_name = "R",
        value_parser = number,
        allow_hyphen_values = true,
        default_value_t = SamplingOptions::default().repetition_penalty
    )]
    repetition_penalty: f32,
    /// Subtract this from the logits of tokens in the answer
    #[arg(
        long,
        value_name = "P",
        value_parser = number,
        allow_hyphen_values = true,
        default_value_t = SamplingOptions::default().presence_penalty
    )]
    presence_penalty: f32,
    /// Subtract this from the logits of tokens, each time that the answer has them
    #[arg(
        long,
        value_name = "P",
        value_parser = number,
        allow_hyphen_values = true,
        default_value_t = SamplingOptions::default().frequency_penalty
    )]
    frequency_penalty: f32,
    /// Add a number to a token's logit, for example 15:-2.5 or 2:-inf; give it again for more
    #[arg(long, value_name = "ID:BIAS", value_parser = bias, allow_hyphen_values = true)]
    logit_bias: Vec<(u32, f32)>,
    /// Make the same draws again [default: others each time]
    #[arg(long, value_name = "SEED", value_parser = whole::<u64>, allow_negative_numbers = true)]
    seed: Option<u64>,
    /// End the answer before this text; give it again for more
    #[arg(long, value_name = "TEXT", value_parser = stop, allow_hyphen_values = true)]
    stop: Vec<String>,
    /// Go on behind the model's end of the answer
    #[arg(long)]
    ignore_eos: bool,
}

impl GenerationArgs {
    /// The options, with a command's own defaults where nothing was given.
    ///
    /// # Errors
    /// Where one makes no sense for any vocabulary.
    pub(crate) fn options(&self, default: &GenerateOptions) -> Result<GenerateOptions> {
        let options = GenerateOptions {
            max_new_tokens: self.max_new_tokens.unwrap_or(default.max_new_tokens),
            sampling: SamplingOptions {
                temperature: self.temperature.unwrap_or(default.sampling.temperature),
                top_k: self.top_k,
                top_p: self.top_p,
                min_p: self.min_p,
                repetition_penalty: self.repetition_penalty,
                presence_penalty: self.presence_penalty,
                frequency_penalty: self.frequency_penalty,
                logit_bias: self.logit_bias.clone(),
                seed: self.seed,
                logprobs: None,
            },
            stop: self.stop.clone(),
            ignore_eos: self.ignore_eos,
        };
        // Before a model is loaded, which may take long.
        options.sampling.check(usize::MAX)?;
        Ok(options)
    }
}

/// Ids as they are typed, with -200 for each image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PromptIds(pub(crate) Vec<i64>);

/// Ids between commas; nothing is no ids, which the runtime refuses with the other empty prompts.
fn prompt_ids(text: &str) -> Result<PromptIds, String> {
    if text.trim().is_empty() {
        return Ok(PromptIds(Vec::new()));
    }
    let id = |id: &str| id.trim().parse().map_err(|error| format!("`{id}`: {error}"));
    text.split(',').map(id).collect::<Result<_, _>>().map(PromptIds)
}

/// Conversation templates by name; help lists them.
fn templates() -> impl TypedValueParser<Value = PromptTemplate> {
    PossibleValuesParser::new(PromptTemplate::ALL.map(PromptTemplate::name)).try_map(|name| {
        PromptTemplate::by_name(&name).ok_or_else(|| format!("there is no template `{name}`"))
    })
}

fn bias(text: &str) -> Result<(u32, f32), String> {
    let (token, bias) = text.split_once(':').ok_or("write ID:BIAS, for example 15:-2.5")?;
    Ok((whole(token)?, number(bias)?))
}

fn stop(text: &str) -> Result<String, String> {
    match text.is_empty() {
        true => Err("a stop text must have characters".to_owned()),
        false => Ok(text.to_owned()),
    }
}

/// A number that single precision can hold; infinity only where it is written as such.
fn number(text: &str) -> Result<f32, String> {
    let wide: f64 = text.trim().parse().map_err(|_| "write a number, for example 0.5")?;
    match wide as f32 {
        narrow if narrow.is_infinite() && !text.to_ascii_lowercase().contains("inf") => {
            Err(format!("it must be between {:e} and {:e}", f32::MIN, f32::MAX))
        }
        narrow => Ok(narrow),
    }
}

/// A whole number that is not negative.
fn whole<T: TryFrom<u64>>(text: &str) -> Result<T, String> {
    let text = text.trim();
    if text.is_empty() || !text.chars().all(|c| c.is_ascii_digit()) {
        return Err("write a whole number, 0 or more".to_owned());
    }
    let number = text.parse::<u64>().ok().and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| "the number is too large".to_owned())
}

fn threads(text: &str) -> Result<NonZeroUsize, String> {
    let most = max_threads();
    match whole(text).map(NonZeroUsize::new) {
        Ok(Some(threads)) if threads.get() <= most => Ok(threads),
        _ => Err(format!("it must be between 1 and {most} on this machine")),
    }
}

fn chunks(text: &str) -> Result<NonZeroUsize, String> {
    NonZeroUsize::new(whole(text)?).ok_or_else(|| "it must be 1 or more".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_examples() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let example = format!("cumo {}", command.get_name());
            assert!(help.contains(&example), "{}", command.get_name());
        }
    }

    #[test]
    fn lines_of_help_that_are_laid_out_by_hand_fit_the_widest_terminal() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let longest = help.lines().max_by_key(|line| line.chars().count()).unwrap_or_default();
            assert!(longest.chars().count() <= 100, "{}: {longest}", command.get_name());
        }
    }

    #[test]
    fn defaults_are_the_originals() {
        let cli = Cli::parse_from(["cumo", "run", "--model", "m", "--prompt", "p"]);
        let Command::Run(run) = cli.command else { panic!() };
        let options = run.generation.options(&GenerateOptions::default()).unwrap();
        assert_eq!(options, GenerateOptions::default());
        assert_eq!((options.max_new_tokens, options.sampling.temperature), (512, 0.2));
    }

    #[test]
    fn ids_begin_with_a_hyphen_too() {
        let cli = Cli::parse_from(["cumo", "run", "--model", "m", "--prompt-ids", "-200,1,5"]);
        let Command::Run(run) = cli.command else { panic!() };
        assert_eq!(run.prompt_ids, Some(PromptIds(vec![-200, 1, 5])));
        assert_eq!(prompt_ids(""), Ok(PromptIds(Vec::new())));
        assert!(prompt_ids("1,,2").unwrap_err().contains("``"));
    }

    #[test]
    fn biases_and_templates_say_what_can_be_given() {
        assert_eq!(bias("15:-2.5"), Ok((15, -2.5)));
        assert_eq!(bias("2:-inf"), Ok((2, f32::NEG_INFINITY)));
        assert!(bias("15").unwrap_err().contains("ID:BIAS"));
        assert!(bias("5:1e39").unwrap_err().contains("between -3.4028235e38 and 3.4028235e38"));
        let run = parse(&["--template", "v1"]).unwrap();
        assert_eq!(run.conversation.template, Some(PromptTemplate::V1));
        assert!(parse(&["--template", "v2"]).unwrap_err().contains("mistral_instruct_system"));
        let help = Cli::command().find_subcommand_mut("run").unwrap().render_long_help();
        assert!(help.to_string().contains("llava_llama_2"));
    }

    fn parse(arguments: &[&str]) -> Result<RunArgs, String> {
        let all = ["cumo", "run", "-m", "m", "-p", "p"].iter().chain(arguments);
        match Cli::try_parse_from(all) {
            Ok(Cli { command: Command::Run(run) }) => Ok(run),
            Ok(_) => Err("another command".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// What is said about arguments, of which the command line or the options' check may complain.
    fn complaint(arguments: &[&str]) -> String {
        match parse(arguments) {
            Err(error) => error,
            Ok(run) => run.generation.options(&GenerateOptions::default()).unwrap_err().to_string(),
        }
    }

    #[test]
    fn numbers_out_of_range_are_answered_with_the_range() {
        for (arguments, part) in [
            (["--temperature", "-1"], "temperature is -1; it must be 0 or more"),
            (["--temperature", "1e40"], "between -3.4028235e38 and 3.4028235e38"),
            (["--temperature", "warm"], "write a number, for example 0.5"),
            (["--temperature", "inf"], "temperature is inf; it must be 0 or more, and finite"),
            (["--presence-penalty", "-1e39"], "between -3.4028235e38 and"),
            (["--top-p", "-0.5"], "top-p is -0.5; it must be more than 0 and at most 1"),
            (["--top-k", "-1"], "write a whole number, 0 or more"),
            (["-n", "-1"], "write a whole number, 0 or more"),
            (["-n", "99999999999999999999"], "the number is too large"),
            (["--seed", "x"], "write a whole number, 0 or more"),
            (["--logit-bias", "5:1e39"], "between -3.4028235e38 and"),
            (["--logit-bias", "-5:1"], "write a whole number, 0 or more"),
            (["--stop", ""], "a stop text must have characters"),
            (["--threads", "0"], "it must be between 1 and "),
            (["--threads", "10000000"], "it must be between 1 and "),
            (["--threads", "-1"], "it must be between 1 and "),
        ] {
            let found = complaint(&arguments);
            assert!(found.contains(part), "{arguments:?}: {found}");
        }
    }

    #[test]
    fn log_probabilities_are_for_json() {
        assert!(parse(&["--logprobs", "2"]).unwrap_err().contains("--json"));
        assert_eq!(parse(&["--logprobs", "2", "--json"]).unwrap().logprobs, Some(2));
        let chat = ["cumo", "chat", "-m", "m", "--logprobs", "2"];
        assert!(Cli::try_parse_from(chat).is_err());
    }
}
