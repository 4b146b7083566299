//! Development tasks: `cargo xtask <command>`. One `match`, one module a command.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program")]

mod bench;
mod demo;
mod export;
mod features;
mod flags;
mod folder;
mod gpu;
mod layers;
mod licences;
mod lint;
mod metadata;
mod native;
mod onnxruntime;
mod package;
mod performance;
mod pinned;
mod process;
mod python;
mod real_shapes;
mod sample;
mod setup;
mod stand_in;
mod test;
mod tidy;
mod time_limit;
mod two_layers;
mod workspace;

use std::process::ExitCode;

use flags::Command;
use workspace::Workspace;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<ExitCode> {
    let command = flags::parse(std::env::args().skip(1))?;
    if let Command::Help(text) = command {
        print!("{text}");
        return Ok(ExitCode::SUCCESS);
    }
    let workspace = Workspace::find()?;
    match command {
        Command::Gpu(request) => return gpu::run(&workspace, &request),
        Command::Help(_) => Ok(()),
        Command::Setup { python, tensorrt } => setup::run(&workspace, python, tensorrt),
        Command::Test { quick } => test::run(&workspace, quick),
        Command::Native => native::run(&workspace),
        Command::Demo => demo::run(&workspace),
        Command::Package(options) => return package_or_say(&workspace, &options),
        Command::BenchReadme => performance::write(&workspace),
        Command::Lint => lint::run(&workspace),
        Command::Format => lint::format(&workspace),
        Command::Licences => licences::run(&workspace),
        Command::Tidy => tidy::run(&workspace),
        Command::Bench { name, args } => bench::run(&workspace, name.as_deref(), &args),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// Exit status for what cannot be done here, and is not wrong.
const SKIPPED: u8 = 77;

fn package_or_say(workspace: &Workspace, options: &package::Options) -> anyhow::Result<ExitCode> {
    match package::run(workspace, options) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) if error.is::<package::NotInArchive>() => {
            println!("skipped: {error:#}; pin another version in xtask/src/package");
            Ok(ExitCode::from(SKIPPED))
        }
        Err(error) => Err(error),
    }
}
