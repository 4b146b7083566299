//! `cumo-export`: from a CuMo checkpoint to a bundle.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod cli;
mod commands;
mod engine_bar;
mod explain;
mod inspect;
mod progress_bar;
mod signals;
mod size;

use std::process::ExitCode;

use clap::Parser;
use cumo_results::presentable;

fn main() -> ExitCode {
    // Without it a limit ends the program, as it would without this line.
    let _ = signals::survive_size_limits();
    let result = match cli::Cli::parse().command {
        cli::Command::Inspect(arguments) => commands::inspect::run(&arguments),
        cli::Command::Onnx(arguments) => commands::onnx::run(&arguments),
        cli::Command::Plan(arguments) => commands::plan::run(&arguments),
        cli::Command::Engine(arguments) => commands::engine::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", presentable(&format!("{error:#}")));
            let interrupted = matches!(
                error.downcast_ref::<cumo_export::Error>(),
                Some(cumo_export::Error::Interrupted)
            ) || matches!(
                error.downcast_ref::<cumo_export::engine::Error>(),
                Some(cumo_export::engine::Error::Interrupted)
            );
            // 130 is what a shell gives a command that Ctrl-C ended.
            ExitCode::from(if interrupted { 130 } else { 1 })
        }
    }
}

/// Whether the reader of our output has gone: `cumo-export inspect ... | head` is no failure.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
    })
}
