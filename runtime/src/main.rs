//! The program `cumo`: answers questions about images with CuMo models.

mod cli;
mod commands;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(args) => commands::run::run(&args),
        Command::Chat(args) => commands::chat::run(&args),
        Command::Eval(args) => commands::eval::run(&args),
        Command::Tokenize(args) => commands::tokenize::run(&args),
        Command::Verify(args) => commands::verify::run(&args),
        Command::Doctor(args) => commands::doctor::run(&args),
    };
    match result {
        Ok(code) => code,
        // Whoever read the output has seen enough.
        Err(error) if commands::console::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            commands::console::error(&error);
            ExitCode::FAILURE
        }
    }
}
