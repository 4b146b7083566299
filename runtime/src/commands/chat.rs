//! `cumo chat`: a conversation, on a terminal or from a script.

use std::io::{self, BufRead, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use cumo_runtime::backend::BackendError;
use cumo_runtime::{Conversation, Error, GenerateOptions, ImageEmbeds, Model, question_text};
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use super::console::{self, AnswerPrinter};
use super::images;
use super::interrupt::Interrupt;
use crate::cli::ChatArgs;

const HELP: &str = "/image FILE  put an image before the next question
/reset       forget the conversation and its images
/help        show this
/exit        end (so do /quit and Ctrl-D)
Ctrl-C       end the answer, not the program; the second time, the program";

/// Why no image can come from standard input.
const LINES_FROM_STDIN: &str = "standard input has the conversation's lines";

/// The longest line that a script may have.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// What a line means.
#[derive(Debug, PartialEq, Eq)]
enum Input<'a> {
    Nothing,
    Question(&'a str),
    Image(&'a str),
    ImageWithoutFile,
    Reset,
    Help,
    Exit,
    Unknown(&'a str),
}

impl<'a> Input<'a> {
    fn parse(line: &'a str) -> Self {
        let line = line.trim();
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match (word, rest.trim()) {
            ("", _) => Input::Nothing,
            ("/image", file) if !file.is_empty() => Input::Image(file),
            ("/image", _) => Input::ImageWithoutFile,
            ("/reset", "") => Input::Reset,
            ("/help", "") => Input::Help,
            ("/exit" | "/quit", "") => Input::Exit,
            _ if line.starts_with('/') => Input::Unknown(line),
            _ => Input::Question(line),
        }
    }
}

pub(crate) fn run(args: &ChatArgs) -> Result<ExitCode> {
    let options = args.generation.options(&GenerateOptions::default())?;
    images::only_files(&args.image, LINES_FROM_STDIN)?;
    let interrupt = Interrupt::listen()?;
    let model = Model::open(&args.model.model, &args.model.options())?;
    ensure!(
        model.tokenizer().is_some(),
        "{}: this bundle has no tokenizer, so it cannot chat; `cumo run --prompt-ids` works",
        args.model.model.display()
    );
    let mut chat = Chat::new(args, options, model, interrupt);
    for image in &args.image {
        chat.add_image(image)?;
    }
    match io::stdin().is_terminal() {
        true => on_terminal(&mut chat),
        false => from_script(&mut chat),
    }
}

/// Reads lines with history and editing; errors are shown and the conversation goes on.
fn on_terminal(chat: &mut Chat) -> Result<ExitCode> {
    let mut editor = DefaultEditor::new()?;
    console::note("/help lists the commands, Ctrl-D ends");
    loop {
        match editor.readline("> ") {
            Ok(line) => {
                let _ = editor.add_history_entry(line.trim());
                match chat.line(&line) {
                    Ok(true) => {}
                    Ok(false) => return Ok(ExitCode::SUCCESS),
                    Err(error) => console::error(&error),
                }
            }
            Err(ReadlineError::Interrupted) => console::note("/exit or Ctrl-D ends"),
            Err(ReadlineError::Eof) => return Ok(ExitCode::SUCCESS),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reads lines from a pipe or file; errors are told with their line and the conversation goes on.
/// The exit code is 1 where there was one.
fn from_script(chat: &mut Chat) -> Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    let mut input = io::stdin().lock();
    for number in 1.. {
        let mut line = Vec::new();
        let most = MAX_LINE_BYTES + 1;
        input.by_ref().take(most).read_until(b'\n', &mut line).context("reading standard input")?;
        if line.is_empty() {
            break;
        }
        ensure!(
            (line.len() as u64) < most,
            "line {number} of standard input has more than {MAX_LINE_BYTES} bytes"
        );
        let result = str::from_utf8(&line).context("not UTF-8").and_then(|line| chat.line(line));
        match result {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) if console::is_broken_pipe(&error) => return Err(error),
            Err(error) => {
                console::error(&error.context(format!("line {number}")));
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

/// A conversation with a model.
struct Chat {
    model: Model,
    interrupt: Interrupt,
    options: GenerateOptions,
    empty: Conversation,
    conversation: Conversation,
    /// Images of the turns so far, then those of the next question.
    images: Vec<ImageEmbeds>,
    /// How many images are the next question's.
    pending: usize,
}

impl Chat {
    fn new(args: &ChatArgs, options: GenerateOptions, model: Model, interrupt: Interrupt) -> Self {
        let facts = model.facts();
        let empty = Conversation::new(
            args.conversation.template.unwrap_or(facts.template),
            args.conversation.system.clone(),
            facts.llm.eos_token_ids.first().copied(),
        );
        Chat {
            options,
            conversation: empty.clone(),
            empty,
            model,
            interrupt,
            images: Vec::new(),
            pending: 0,
        }
    }

    /// Does what a line says; says whether the conversation goes on.
    fn line(&mut self, line: &str) -> Result<bool> {
        match Input::parse(line) {
            Input::Nothing => {}
            Input::Question(question) => self.ask(question)?,
            Input::Image(file) if images::is_stdin(Path::new(file)) => {
                bail!("/image -: {LINES_FROM_STDIN}; give a file (one that is called `-` is ./-)")
            }
            Input::Image(file) => {
                let interrupt = self.interrupt.clone();
                let _answering = interrupt.answering();
                match self.add_image(Path::new(file)) {
                    Err(error) if is_interrupted(&error) => {
                        console::note("stopped; the image is not kept");
                    }
                    result => result?,
                }
            }
            Input::Reset => self.reset(),
            Input::ImageWithoutFile => bail!("/image needs a file: /image FILE"),
            Input::Help => console::note(HELP),
            Input::Exit => return Ok(false),
            Input::Unknown(line) => bail!("{line}: no such command; /help lists them"),
        }
        Ok(true)
    }

    fn ask(&mut self, question: &str) -> Result<()> {
        let _answering = self.interrupt.answering();
        let question = question_text(question, self.pending)?;
        let tokenizer = self.model.tokenizer().context("the bundle has no tokenizer")?;
        let ids = self.conversation.prompt(tokenizer, &question)?;
        let cancel = self.interrupt.token();
        let mut printer = AnswerPrinter::new(true, cancel);
        let answer = self
            .model
            .generate(&ids, &self.images, &self.options, cancel, &mut |event| {
                printer.event(event);
            })
            .context("/reset begins a new conversation")?;
        printer.finish()?;
        console::note_context_full(&answer, &self.options);
        self.model.keep_compiled();
        self.model.take_notes().iter().for_each(|note| console::note(note));
        if answer.text.as_deref().unwrap_or_default().is_empty() {
            console::note("no answer; the question is not kept");
            return Ok(());
        }
        self.conversation.add(&question, ids, &answer);
        self.pending = 0;
        Ok(())
    }

    fn add_image(&mut self, file: &Path) -> Result<()> {
        // Images take memory, also those that no question could be asked about.
        let (count, facts) = (self.images.len() + 1, self.model.facts());
        let (each, context) = (facts.vision.image_tokens, facts.llm.context_length);
        ensure!(
            count.saturating_mul(each) < context,
            "{}: no room for another image: {count} of {each} positions do not fit the model's context \
             of {context}; /reset begins a new conversation",
            file.display()
        );
        let cancel = self.interrupt.token();
        let (embeds, _) = self.model.encode_images(&[PathBuf::from(file)], cancel)?;
        self.pending += embeds.len();
        self.images.extend(embeds);
        Ok(())
    }

    fn reset(&mut self) {
        console::note(&match self.images.len() {
            0 => "the conversation is forgotten".to_owned(),
            1 => "the conversation and its image are forgotten".to_owned(),
            images => format!("the conversation and its {images} images are forgotten"),
        });
        self.conversation = self.empty.clone();
        self.model.release_images(self.images.drain(..));
        self.pending = 0;
    }
}

fn is_interrupted(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Error::Backend(BackendError::Interrupted)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_questions_unless_they_begin_with_a_slash() {
        assert_eq!(Input::parse("  What is this? \n"), Input::Question("What is this?"));
        assert_eq!(Input::parse("/image  my cat.png\n"), Input::Image("my cat.png"));
        assert_eq!(Input::parse("/reset"), Input::Reset);
        assert_eq!(Input::parse("/exit\n"), Input::Exit);
        assert_eq!(Input::parse("/help"), Input::Help);
        assert_eq!(Input::parse(" \n"), Input::Nothing);
        assert_eq!(Input::parse("/image \n"), Input::ImageWithoutFile);
        assert_eq!(Input::parse("/quit"), Input::Exit);
        assert_eq!(Input::parse("/reset now"), Input::Unknown("/reset now"));
    }
}
