//! What was typed, as a [`Command`].

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::gpu::{OnDevice, Part, Request, parse_capability};
use crate::package::{Native, Options, Target};

/// The text of `cargo xtask help`.
pub(crate) const HELP: &str = "\
Usage: cargo xtask <command>

  setup [--python] [--tensorrt]
                          get ONNX Runtime's library;
                          --python: and the Python tools of the tests;
                          --tensorrt: and NVIDIA's CUDA compiler, TensorRT-RTX, lean runtimes and
                          headers (0.3 GB to fetch, under NVIDIA's licences), CMake where missing
  native                  build the CMake project native/ and run its tests
  gpu [--only PART,PART] [--quick] [--minutes N] [--results FOLDER] [--output FILE] [--built]
                          on a machine with an NVIDIA GPU: build everything for it, run what only it
                          can show, and print one table. The parts, in their order:
                            kernels  every case of the kernels, and their times
                            answers  goldens' tokens and the sample's 1,500 answers through cumo
                            mixture  the plugin against the dense form
                            bench    cumo bench on the sample and on two layers of real sizes, with
                                     weights as inputs, as constants and, on a Jetson, in place; each
                                     stage's share of its bound
                            engines  the goldens' engines against ONNX Runtime, call by call
                            whole    cumo bench on all layers of real sizes with random weights: 20 GiB
                                     on the device, 40 GB of the disk
                          --quick: less of each, and no engines and whole unless they are named:
                          what a card that is lent for ten minutes can do, in 8 of them;
                          --minutes: what has no time left is skipped, what runs then is stopped;
                          --results: where results go (default: benches/results), named for the card;
                          --output: where the table goes (default: with the results);
                          --built: build nothing, use what was built.
                          Results and table are written as they come about. One part that fails does
                          not keep the others from running.
                          Needs no network after `cargo fetch --locked` and `setup --python
                          --tensorrt`, or where CUDA and TensorRT are installed.
                          Exit status 0: what ran held; 1: something did not, or was slower than
                          aimed at; 77: no GPU, so that things were built and nothing ran
  gpu --pack FILE.tar.gz [--for 9.0,8.6]
                          build everything here, for these compute capabilities or all, and pack it for
                          a machine with a GPU and without network, compilers or Rust: there, unpack
                          it and run cumo-gpu/gpu.sh with the options above
  gpu --stand-in          answers, bench and whole on a stand-in for TensorRT, without a GPU: one
                          golden, a dozen questions, small layers, few repetitions. Shows that the
                          steps work; times mean nothing
  demo                    export the sample and ask it three questions about three images
  test [--quick]          setup --tensorrt, native, Rust tests, then the exported files under
                          Python's onnx and onnxruntime;
                          --quick: Rust tests only, without those that need TensorRT
  package --target aarch64|x86_64 [--features LIST] [--native FOLDER|none] [--tensorrt DIR]
          [--with-export] [--emulate]
                          a Debian package with cumo, manual pages, completions, the sources of
                          native/ and, where CUDA for the target is at hand, the libraries built of
                          them, into target/package;
                          --features: cargo features of cumo-runtime in place of the default ones;
                          --native: the libraries of a build folder made on such a machine, or none;
                          --tensorrt: build them for the TensorRT whose headers are in DIR alone, for
                          example a board's /usr/include/aarch64-linux-gnu (without it: for
                          TensorRT-RTX, 11 and what is installed, after `setup --tensorrt`);
                          --with-export: cumo-export too, for engines are built on the board;
                          --emulate: and let its cumo answer the sample's questions, under QEMU where
                          it is for another machine. Exit status 77: a pinned package has gone from
                          Debian's archive
  bench-readme            README's table of results, from benches/results
  lint                    formatting, tidy, licences, features, README's results, clippy, docs
  format                  write Rust, C, C++ and CUDA as lint wants them
  licences                licences and duplicates of all dependencies, from the lock file
  tidy                    file sizes, leftovers, direction of dependencies
  bench [NAME [ARGS]..]   list the benchmarks, or run one
  help [COMMAND]          this text, or a command's part of it; so does COMMAND --help

Environment:
  ORT_DYLIB_PATH          an ONNX Runtime library to use instead of fetching one
  PYTHON                  the Python interpreter (default: python3)
";

/// A command and its options.
#[derive(Debug, PartialEq)]
pub(crate) enum Command {
    /// Prints a text.
    Help(String),
    /// Native library, and Python tools and TensorRT's packages where asked.
    Setup { python: bool, tensorrt: bool },
    /// The C++ and CUDA side: build and test.
    Native,
    /// What needs a GPU, or its rehearsal.
    Gpu(Request),
    /// All tests, or those in Rust.
    Test { quick: bool },
    /// The sample, from checkpoint to answers.
    Demo,
    /// A Debian package.
    Package(Options),
    /// README's section on performance.
    BenchReadme,
    /// All checks that run no test.
    Lint,
    /// Writes all sources as they are to be formatted.
    Format,
    /// Licences alone.
    Licences,
    /// Repository checks alone.
    Tidy,
    /// One benchmark, or the list of them.
    Bench { name: Option<String>, args: Vec<String> },
}

/// Reads the arguments after `cargo xtask`.
///
/// # Errors
/// An unknown command, or an option that the command does not have.
pub(crate) fn parse(args: impl Iterator<Item = String>) -> Result<Command> {
    let args: Vec<String> = args.collect();
    let Some((name, rest)) = args.split_first() else { return Ok(Command::Help(HELP.to_owned())) };
    // After a benchmark's name, it is the benchmark that is asked.
    let asked = if name == "bench" { rest.get(..1) } else { Some(rest) };
    if asked.is_some_and(|words| words.iter().any(|word| word == "--help" || word == "-h")) {
        return Ok(Command::Help(help_on(name)?));
    }
    let command = match name.as_str() {
        "setup" => {
            let [python, tensorrt] = switches(name, rest, ["--python", "--tensorrt"])?;
            Command::Setup { python, tensorrt }
        }
        "native" => none(name, rest, Command::Native)?,
        "gpu" => Command::Gpu(gpu(rest)?),
        "test" => {
            let [quick] = switches(name, rest, ["--quick"])?;
            Command::Test { quick }
        }
        "demo" => none(name, rest, Command::Demo)?,
        "package" => Command::Package(package(rest)?),
        "bench-readme" => none(name, rest, Command::BenchReadme)?,
        "lint" => none(name, rest, Command::Lint)?,
        "format" => none(name, rest, Command::Format)?,
        "licences" | "licenses" => none(name, rest, Command::Licences)?,
        "tidy" => none(name, rest, Command::Tidy)?,
        "bench" => Command::Bench {
            name: rest.first().cloned(),
            args: rest.get(1..).unwrap_or_default().to_vec(),
        },
        "help" | "--help" | "-h" => match rest.first() {
            Some(name) => Command::Help(help_on(name)?),
            None => Command::Help(HELP.to_owned()),
        },
        other => bail!("no command `{other}`\n\n{HELP}"),
    };
    Ok(command)
}

/// What [`HELP`] says of a command.
///
/// # Errors
/// There is no such command.
fn help_on(name: &str) -> Result<String> {
    let name = if name == "licenses" { "licences" } else { name };
    let is_start = |line: &&str| line.starts_with("  ") && !line.starts_with("   ");
    let is_it = |line: &&str| is_start(line) && line.split_whitespace().next() == Some(name);
    let commands = HELP.split("\nEnvironment:").next().unwrap_or(HELP);
    let mut text = String::new();
    let mut inside = false;
    for line in commands.lines().skip(2) {
        inside = if is_start(&line) { is_it(&line) } else { inside };
        if inside && !line.is_empty() {
            text.push_str(line);
            text.push('\n');
        }
    }
    if text.is_empty() {
        bail!("no command `{name}`\n\n{HELP}");
    }
    Ok(format!(
        "Usage: cargo xtask <command>\n\n{text}\n`cargo xtask help` describes all commands.\n"
    ))
}

/// Which of the known options were given.
fn switches<const N: usize>(command: &str, rest: &[String], known: [&str; N]) -> Result<[bool; N]> {
    if let Some(unknown) = rest.iter().find(|arg| !known.contains(&arg.as_str())) {
        let known = known.map(|option| format!("`{option}`")).join(", ");
        bail!("`{command}` has no option `{unknown}`, only {known}");
    }
    Ok(known.map(|option| rest.iter().any(|arg| arg == option)))
}

/// The options of `gpu`.
fn gpu(rest: &[String]) -> Result<Request> {
    if rest == ["--stand-in"] {
        return Ok(Request::StandIn);
    }
    if rest.first().is_some_and(|first| first == "--pack") {
        return gpu_pack(rest);
    }
    let mut run = OnDevice::default();
    let mut words = rest.iter();
    while let Some(option) = words.next() {
        let mut value = || words.next().with_context(|| format!("`{option}` needs a value"));
        match option.as_str() {
            "--output" => run.output = Some(PathBuf::from(value()?)),
            "--results" => run.results = Some(PathBuf::from(value()?)),
            "--only" => run.parts = Part::parse(value()?)?,
            "--minutes" => run.minutes = Some(minutes(value()?)?),
            "--quick" => run.is_quick = true,
            "--built" => run.is_built = true,
            "--stand-in" => bail!("`--stand-in` goes with no other option"),
            "--pack" => bail!("`--pack` goes with `--for` alone, and comes first"),
            other => bail!("`gpu` has no option `{other}`"),
        }
    }
    Ok(Request::Device(run))
}

fn minutes(text: &str) -> Result<f64> {
    match text.parse::<f64>() {
        Ok(minutes) if minutes > 0.0 && minutes <= 1e6 => Ok(minutes),
        _ => bail!("`--minutes {text}`: write a number greater than 0"),
    }
}

/// `--pack FILE [--for 9.0,8.6]`.
fn gpu_pack(rest: &[String]) -> Result<Request> {
    let devices = |list: &String| {
        let device = |name: &str| {
            let error =
                || format!("`--for {name}`: write compute capabilities, for example 9.0,8.6");
            parse_capability(name).with_context(error)
        };
        list.split(',').map(device).collect::<Result<Vec<u32>>>()
    };
    match rest {
        [_, file] => Ok(Request::Pack { file: file.into(), devices: None }),
        [_, file, option, list] if option == "--for" => {
            Ok(Request::Pack { file: file.into(), devices: Some(devices(list)?) })
        }
        [_] => bail!("`--pack` needs a value"),
        _ => bail!("`--pack` goes with `--for` alone, and comes first"),
    }
}

/// The options of `package`.
fn package(rest: &[String]) -> Result<Options> {
    let (mut target, mut features, mut native) = (None, None, None);
    let mut tensorrt = None;
    let (mut with_export, mut emulate) = (false, false);
    let mut words = rest.iter();
    while let Some(option) = words.next() {
        let mut value = || words.next().with_context(|| format!("`{option}` needs a value"));
        match option.as_str() {
            "--target" => target = Some(Target::from_name(value()?)?),
            "--features" => features = Some(value()?.clone()),
            "--native" => {
                native = Some(match value()?.as_str() {
                    "none" => Native::None,
                    folder => Native::Folder(folder.into()),
                });
            }
            "--tensorrt" => tensorrt = Some(PathBuf::from(value()?)),
            "--with-export" => with_export = true,
            "--emulate" => emulate = true,
            other => bail!("`package` has no option `{other}`"),
        }
    }
    let target = target.context("`package` needs `--target aarch64` or `--target x86_64`")?;
    if native.is_some() && tensorrt.is_some() {
        bail!("`--tensorrt` is for libraries that are built, and `--native` gives them or none");
    }
    let native = native.unwrap_or(Native::Build { tensorrt });
    Ok(Options { target, features, native, with_export, emulate })
}

fn none(name: &str, rest: &[String], command: Command) -> Result<Command> {
    match rest.first() {
        Some(unknown) => bail!("`{name}` takes no option, got `{unknown}`"),
        None => Ok(command),
    }
}

#[cfg(test)]
mod tests;
