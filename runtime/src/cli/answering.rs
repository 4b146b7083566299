//! The options of commands that answer: the conversation, and how tokens are chosen.

use anyhow::Result;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use cumo_bundle::PromptTemplate;
use cumo_runtime::{GenerateOptions, SamplingOptions};

use super::numbers::{number, whole};

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
pub(super) fn prompt_ids(text: &str) -> Result<PromptIds, String> {
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

pub(super) fn bias(text: &str) -> Result<(u32, f32), String> {
    let (token, bias) = text.split_once(':').ok_or("write ID:BIAS, for example 15:-2.5")?;
    Ok((whole(token)?, number(bias)?))
}

fn stop(text: &str) -> Result<String, String> {
    match text.is_empty() {
        true => Err("a stop text must have characters".to_owned()),
        false => Ok(text.to_owned()),
    }
}
