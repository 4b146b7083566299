//! The program `cumo`: answers questions about images with CuMo models.

mod backend_options;
mod cli;
mod commands;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

fn main() -> ExitCode {
    switch_telemetry_off();
    leave_caught_panics_untold();
    // Without it a limit ends the program, as it would without this line.
    let _ = commands::interrupt::survive_size_limits();
    let result = match Cli::parse().command {
        Command::Run(args) => commands::run::run(&args),
        Command::Chat(args) => commands::chat::run(&args),
        Command::Eval(args) => commands::eval::run(&args),
        Command::Tokenize(args) => commands::tokenize::run(&args),
        Command::Bench(args) => commands::bench::run(&args),
        Command::Verify(args) => commands::verify::run(&args),
        Command::Plan(args) => commands::plan::run(&args),
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

/// ONNX Runtime since 1.29 gives the machine a number, keeps events in files and sends them, from
/// the making of its environment on, which is before its API can be told not to. Whoever has set the
/// variable has decided.
#[allow(unsafe_code, reason = "sets an environment variable")]
fn switch_telemetry_off() {
    const VARIABLE: &str = "ORT_DISABLE_TELEMETRY";
    if std::env::var_os(VARIABLE).is_none() {
        // SAFETY: the program has just begun: no other thread runs that could read the environment.
        unsafe { std::env::set_var(VARIABLE, "1") };
    }
}

/// A panic that the library makes an error of is told as that error only.
fn leave_caught_panics_untold() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !cumo_processor::panic_is_caught() {
            tell(panic);
        }
    }));
}
