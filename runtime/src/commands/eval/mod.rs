//! `cumo eval`: a file of questions, as LLaVA's and CuMo's `model_vqa` scripts answer it.

mod accuracy;
mod answers;
mod progress;
mod questions;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use cumo_processor::Message;
use cumo_runtime::{
    FinishReason, GenerateOptions, Identity, ImageEmbeds, Model, SamplingOptions, question_text,
};
use serde::Serialize;

use super::console;
use super::interrupt::{EXIT_CODE, Interrupt};
use crate::cli::EvalArgs;
use accuracy::Accuracy;
use answers::{Answerer, AnswersFile};
use progress::Progress;
use questions::Question;

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report {
    model_id: String,
    /// Questions of the chunk.
    questions: usize,
    /// Of these, those that were answered by an earlier run.
    answered_before: usize,
    /// Seconds that this run's answers took.
    seconds: f64,
    /// Right answers, where the questions say what is right.
    accuracy: Option<Accuracy>,
}

pub(crate) fn run(args: &EvalArgs) -> Result<ExitCode> {
    if let (Ok(questions), Ok(answers)) =
        (args.question_file.canonicalize(), args.answers_file.canonicalize())
        && questions == answers
    {
        anyhow::bail!(
            "{} is the file of the questions; answers need another one",
            args.answers_file.display()
        );
    }
    let questions = questions::read(&args.question_file, &args.image_folder)?;
    let questions = questions::chunk(&questions, args.num_chunks, args.chunk_idx)?;
    let options = args.generation.options(&GenerateOptions {
        max_new_tokens: 128,
        sampling: SamplingOptions::greedy(),
        ..GenerateOptions::default()
    })?;
    let interrupt = Interrupt::listen()?;
    let model = Model::open(&args.model.model, &args.model.options())?;
    let model_id = model.facts().name.clone();
    let answerer = Answerer::new(&model_id, &Identity::of(&args.model.model)?);
    let mut answers = AnswersFile::open(&args.answers_file, &answerer)?;

    let start = Instant::now();
    let mut eval = Eval { args, model, interrupt, options, context_full: 0, image: None };
    let mut progress = Progress::new(questions.len());
    let mut accuracy = Accuracy::default();
    let mut answered_before = 0;
    for question in questions {
        let text = match answers.take(&question.question_id, &question.text) {
            Some(text) => {
                answered_before += 1;
                text
            }
            None => {
                let Some(text) = eval.answer(question).with_context(|| {
                    format!("{}, line {}", args.question_file.display(), question.line)
                })?
                else {
                    progress.finish();
                    console::note("stopped; the same command goes on from here");
                    return Ok(ExitCode::from(EXIT_CODE));
                };
                answers.add(&answerer.answer(question, &text))?;
                text
            }
        };
        accuracy.add(question, &text);
        progress.advance();
    }
    progress.finish();
    if eval.context_full > 0 {
        console::note(&format!(
            "note: {} answers ended before --max-new-tokens, where the model's context is full",
            eval.context_full
        ));
    }
    eval.model.take_notes().iter().for_each(|note| console::note(note));
    let report = Report {
        model_id,
        questions: questions.len(),
        answered_before,
        seconds: start.elapsed().as_secs_f64(),
        accuracy: accuracy.known(),
    };
    print(&report, args.json)?;
    Ok(ExitCode::SUCCESS)
}

fn print(report: &Report, json: bool) -> Result<()> {
    if json {
        return console::print_json(report);
    }
    let new = report.questions - report.answered_before;
    console::print_line(&format!(
        "{} questions, {new} answered now in {:.1} s",
        report.questions, report.seconds
    ))?;
    match &report.accuracy {
        Some(accuracy) => console::print_line(&accuracy.table()),
        None => Ok(()),
    }
}

/// A model answering one question after the other.
struct Eval<'a> {
    args: &'a EvalArgs,
    model: Model,
    interrupt: Interrupt,
    options: GenerateOptions,
    /// How many answers the model's context ended.
    context_full: usize,
    /// The last question's image, which the next one often has too.
    image: Option<(PathBuf, ImageEmbeds)>,
}

impl Eval<'_> {
    /// A question's answer without white space around it; none where Ctrl-C ended it.
    fn answer(&mut self, question: &Question) -> Result<Option<String>> {
        // Ctrl-C may come at the very end of an answer, which is then kept.
        if self.interrupt.token().is_cancelled() {
            return Ok(None);
        }
        let image = match &question.image {
            Some(name) => Some(self.embeds(&self.args.image_folder.join(name))?),
            None => None,
        };
        let text = question_text(&question.text, image.iter().count())?;
        let conversation = &self.args.conversation;
        let ids = self.model.tokenize(
            conversation.template,
            conversation.system.as_deref(),
            &[Message::user(text), Message::answer()],
        )?;
        let answering = self.interrupt.answering();
        let cancel = self.interrupt.token();
        let answer =
            self.model.generate(&ids, image.as_slice(), &self.options, cancel, &mut |_| ())?;
        drop(answering);
        self.model.keep_compiled();
        self.context_full += usize::from(console::is_context_full(&answer, &self.options));
        if answer.finish_reason == FinishReason::Cancelled {
            return Ok(None);
        }
        Ok(Some(answer.text.unwrap_or_default()))
    }

    fn embeds(&mut self, path: &Path) -> Result<ImageEmbeds> {
        if let Some((last, embeds)) = &self.image
            && last == path
        {
            return Ok(*embeds);
        }
        if let Some((_, embeds)) = self.image.take() {
            self.model.release_images([embeds]);
        }
        let (embeds, _) = self.model.encode_images(&[path.to_owned()], self.interrupt.token())?;
        let embeds = *embeds.first().context("the image gave no embeddings")?;
        self.image = Some((path.to_owned(), embeds));
        Ok(embeds)
    }
}
