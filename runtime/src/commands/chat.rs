//! `cumo chat`: a conversation, on a terminal or from a script.

use std::io::{self, BufRead, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use cumo_runtime::backend::BackendError;
use cumo_runtime::{
    CancelToken, Conversation, Error, GenerateOptions, ImageEmbeds, Model, question_text,
};
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use super::console::{self, AnswerPrinter};
use super::interrupt;
use crate::cli::ChatArgs;

const HELP: &str = "/image FILE  put an image before the next question
/reset       forget the conversation
/help        show this
/exit        end (so does Ctrl-D)
Ctrl-C       end the answer, not the program";

/// What a line means.
#[derive(Debug, PartialEq, Eq)]
enum Input<'a> {
    Nothing,
    Question(&'a str),
    Image(&'a str),
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
            ("/reset", "") => Input::Reset,
            ("/help", "") => Input::Help,
            ("/exit" | "/quit", "") => Input::Exit,
            _ if line.starts_with('/') => Input::Unknown(line),
            _ => Input::Question(line),
        }
    }
}

pub(crate) fn run(args: &ChatArgs) -> Result<ExitCode> {
    let cancel = interrupt::token()?;
    let model = Model::open(&args.model.model, &args.model.options())?;
    ensure!(
        model.tokenizer().is_some(),
        "{}: this bundle has no tokenizer, so it cannot chat; `cumo run --prompt-ids` works",
        args.model.model.display()
    );
    let mut chat = Chat::new(args, model, cancel);
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

/// Reads lines from a pipe or file; the first error ends it, as a script expects.
fn from_script(chat: &mut Chat) -> Result<ExitCode> {
    for line in io::stdin().lock().lines() {
        if !chat.line(&line.context("reading standard input")?)? {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A conversation with a model.
struct Chat {
    model: Model,
    cancel: CancelToken,
    options: GenerateOptions,
    empty: Conversation,
    conversation: Conversation,
    /// Images of the turns so far, then those of the next question.
    images: Vec<ImageEmbeds>,
    /// How many images are the next question's.
    pending: usize,
}

impl Chat {
    fn new(args: &ChatArgs, model: Model, cancel: CancelToken) -> Self {
        let facts = model.facts();
        let empty = Conversation::new(
            args.conversation.template.unwrap_or(facts.template),
            args.conversation.system.clone(),
            facts.llm.eos_token_ids.first().copied(),
        );
        Chat {
            options: args.generation.options(&GenerateOptions::default()),
            conversation: empty.clone(),
            empty,
            model,
            cancel,
            images: Vec::new(),
            pending: 0,
        }
    }

    /// Does what a line says; says whether the conversation goes on.
    fn line(&mut self, line: &str) -> Result<bool> {
        match Input::parse(line) {
            Input::Nothing => {}
            Input::Question(question) => self.ask(question)?,
            Input::Image(file) => self.add_image(Path::new(file))?,
            Input::Reset => self.reset(),
            Input::Help => console::note(HELP),
            Input::Exit => return Ok(false),
            Input::Unknown(line) => console::note(&format!("{line}: no such command\n{HELP}")),
        }
        Ok(true)
    }

    fn ask(&mut self, question: &str) -> Result<()> {
        self.cancel.reset();
        let question = question_text(question, self.pending)?;
        let tokenizer = self.model.tokenizer().context("the bundle has no tokenizer")?;
        let ids = self.conversation.prompt(tokenizer, &question)?;
        let mut printer = AnswerPrinter::new(true, &self.cancel);
        let answer = self
            .model
            .generate(&ids, &self.images, &self.options, &self.cancel, &mut |event| {
                printer.event(event);
            })
            .context("/reset begins a new conversation")?;
        printer.finish()?;
        if answer.text.as_deref().unwrap_or_default().is_empty() {
            console::note("no answer; the question is not kept");
            return Ok(());
        }
        self.conversation.add(&question, ids, &answer);
        self.pending = 0;
        Ok(())
    }

    fn add_image(&mut self, file: &Path) -> Result<()> {
        self.cancel.reset();
        let (embeds, _) = match self.model.encode_images(&[PathBuf::from(file)], &self.cancel) {
            Ok(encoded) => encoded,
            Err(Error::Backend(BackendError::Interrupted)) => {
                console::note("stopped; the image is not kept");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        self.pending += embeds.len();
        self.images.extend(embeds);
        Ok(())
    }

    fn reset(&mut self) {
        self.conversation = self.empty.clone();
        self.model.release_images(self.images.drain(..));
        self.pending = 0;
    }
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
        assert_eq!(Input::parse("/image"), Input::Unknown("/image"));
        assert_eq!(Input::parse("/reset now"), Input::Unknown("/reset now"));
    }
}
