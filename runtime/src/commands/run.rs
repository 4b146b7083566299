//! `cumo run`: one question, one answer.

use std::process::ExitCode;
use std::sync::atomic::Ordering;

use anyhow::Result;
use cumo_processor::{Message, Tokenizer};
use cumo_runtime::{
    Answer, Event, FinishReason, GenerateOptions, ImageSource, LogProbs, Model, Prompt,
    TokenLogProb, question_text,
};
use serde::Serialize;

use super::console::{self, AnswerPrinter};
use super::images;
use super::interrupt::{EXIT_CODE, Interrupt};
use super::timing::Milliseconds;
use crate::cli::RunArgs;

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report<'a> {
    text: Option<&'a str>,
    tokens: &'a [u32],
    prompt_tokens: usize,
    image_tokens: usize,
    finish_reason: FinishReason,
    seed: u64,
    /// The longest that the answer could be: less than was asked for where the context is full.
    max_new_tokens: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    logprobs: Vec<TokenReport<'a>>,
    milliseconds: Milliseconds,
}

/// A token of the answer with what else it might have been.
#[derive(Debug, Serialize)]
struct TokenReport<'a> {
    #[serde(flatten)]
    chosen: Alternative<'a>,
    /// The most probable tokens, best first.
    top: Vec<Alternative<'a>>,
}

/// A token, and how probable the model found it.
#[derive(Debug, Serialize)]
struct Alternative<'a> {
    token: u32,
    /// As the vocabulary writes it, for example `▁the` or `<0x0A>`; none without a tokenizer.
    piece: Option<&'a str>,
    logprob: f32,
}

impl<'a> Alternative<'a> {
    fn new(found: TokenLogProb, tokenizer: Option<&'a Tokenizer>) -> Self {
        let piece = tokenizer.and_then(|tokenizer| tokenizer.id_to_piece(found.token));
        Alternative { token: found.token, piece, logprob: found.logprob }
    }
}

fn token_report<'a>(probs: &LogProbs, tokenizer: Option<&'a Tokenizer>) -> TokenReport<'a> {
    TokenReport {
        chosen: Alternative::new(probs.chosen, tokenizer),
        top: probs.top.iter().map(|found| Alternative::new(*found, tokenizer)).collect(),
    }
}

pub(crate) fn run(args: &RunArgs) -> Result<ExitCode> {
    let mut options = args.generation.options(&GenerateOptions::default())?;
    options.sampling.logprobs = args.logprobs;
    // Before Ctrl-C is listened to, which ends the wait for whoever writes there.
    let images = images::sources(&args.image)?;
    let interrupt = Interrupt::listen()?;
    let mut model = Model::open(&args.model.model, &args.model.options())?;
    answer(args, &images, &options, &mut model, &interrupt)
}

fn answer(
    args: &RunArgs,
    images: &[ImageSource],
    options: &GenerateOptions,
    model: &mut Model,
    interrupt: &Interrupt,
) -> Result<ExitCode> {
    let ids = prompt_ids(args, model)?;
    // Before images are encoded, which may take long.
    Prompt::new(&ids, images.len(), model.facts())?;
    options.sampling.check(model.facts().llm.vocab_size)?;
    if !args.image.is_empty() {
        model.load_vision()?;
    }
    let cancel = interrupt.token();
    // Where a device works behind this program, a stage has its time only where it is waited for.
    // Tokens behind the first come as fast as without times.
    let measured = model.executor().measured();
    measured.store(args.json || args.timings, Ordering::Relaxed);
    let (images, image_times) = model.encode_sources(images, cancel)?;
    let answering = interrupt.answering();
    let mut printer = AnswerPrinter::new(model.tokenizer().is_some(), cancel);
    let answer = model.generate(&ids, &images, options, cancel, &mut |event| {
        if let Event::Token(_) = event {
            measured.store(false, Ordering::Relaxed);
        }
        if !args.json {
            printer.event(event);
        }
    })?;
    drop(answering);
    let is_behind = model.executor().backend().device.is_some();
    let times = Milliseconds::new(model.load_time(), &image_times, &answer.times, is_behind);
    if args.json {
        console::print_json(&report(&answer, model, times))?;
    } else {
        printer.finish()?;
    }
    console::note_context_full(&answer, options);
    model.keep_compiled();
    model.take_notes().iter().for_each(|note| console::note(note));
    if args.timings {
        console::note(&format!(
            "{} prompt tokens ({} of images), {} answer tokens; {}",
            answer.prompt_tokens,
            answer.image_tokens,
            answer.tokens.len(),
            times.line()
        ));
    }
    Ok(match answer.finish_reason {
        FinishReason::Cancelled => ExitCode::from(EXIT_CODE),
        _ => ExitCode::SUCCESS,
    })
}

fn report<'a>(answer: &'a Answer, model: &'a Model, milliseconds: Milliseconds) -> Report<'a> {
    Report {
        text: answer.text.as_deref(),
        tokens: &answer.tokens,
        prompt_tokens: answer.prompt_tokens,
        image_tokens: answer.image_tokens,
        finish_reason: answer.finish_reason,
        seed: answer.seed,
        max_new_tokens: answer.max_new_tokens,
        logprobs: answer.logprobs.iter().map(|p| token_report(p, model.tokenizer())).collect(),
        milliseconds,
    }
}

fn prompt_ids(args: &RunArgs, model: &Model) -> Result<Vec<i64>> {
    if let Some(ids) = &args.prompt_ids {
        return Ok(ids.0.clone());
    }
    let text = question_text(args.prompt.as_deref().unwrap_or_default(), args.image.len())?;
    let messages = [Message::user(text), Message::answer()];
    let conversation = &args.conversation;
    Ok(model.tokenize(conversation.template, conversation.system.as_deref(), &messages)?)
}
