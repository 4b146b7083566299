//! `cumo run`: one question, one answer.

use std::process::ExitCode;

use anyhow::Result;
use cumo_processor::Message;
use cumo_runtime::{
    Answer, CancelToken, FinishReason, GenerateOptions, ImageTimes, LogProbs, Model, Prompt,
    question_text,
};
use serde::Serialize;

use super::console::{self, AnswerPrinter};
use super::interrupt;
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
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    logprobs: &'a [LogProbs],
    milliseconds: Milliseconds,
}

pub(crate) fn run(args: &RunArgs) -> Result<ExitCode> {
    let cancel = interrupt::token()?;
    let mut model = Model::open(&args.model.model, &args.model.options())?;
    match answer(args, &mut model, &cancel) {
        Err(error) if interrupt::is_cause_of(&error) => Ok(ExitCode::from(interrupt::EXIT_CODE)),
        result => result,
    }
}

fn answer(args: &RunArgs, model: &mut Model, cancel: &CancelToken) -> Result<ExitCode> {
    let ids = prompt_ids(args, model)?;
    let options = args.generation.options(&GenerateOptions::default());
    // Before images are encoded, which may take long.
    Prompt::new(&ids, args.image.len(), model.facts())?;
    options.sampling.check(model.facts().llm.vocab_size)?;
    let (images, image_times) = model.encode_images(&args.image, cancel)?;
    let mut printer = AnswerPrinter::new(model.tokenizer().is_some(), cancel);
    let answer = model.generate(&ids, &images, &options, cancel, &mut |event| {
        if !args.json {
            printer.event(event);
        }
    })?;
    if args.json {
        console::print_json(&report(&answer, model, &image_times))?;
    } else {
        printer.finish()?;
    }
    if args.timings {
        let times = Milliseconds::new(model.load_time(), &image_times, &answer.times);
        console::note(&format!(
            "{} prompt tokens ({} of images), {} answer tokens; {}",
            answer.prompt_tokens,
            answer.image_tokens,
            answer.tokens.len(),
            times.line()
        ));
    }
    Ok(match answer.finish_reason {
        FinishReason::Cancelled => ExitCode::from(interrupt::EXIT_CODE),
        _ => ExitCode::SUCCESS,
    })
}

fn report<'a>(answer: &'a Answer, model: &Model, images: &ImageTimes) -> Report<'a> {
    Report {
        text: answer.text.as_deref(),
        tokens: &answer.tokens,
        prompt_tokens: answer.prompt_tokens,
        image_tokens: answer.image_tokens,
        finish_reason: answer.finish_reason,
        seed: answer.seed,
        logprobs: &answer.logprobs,
        milliseconds: Milliseconds::new(model.load_time(), images, &answer.times),
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
