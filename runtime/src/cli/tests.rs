//! What can be typed, and what is said about what cannot.

use clap::CommandFactory;
use cumo_bundle::PromptTemplate;
use cumo_runtime::GenerateOptions;

use super::answering::bias;
use super::*;

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_has_examples() {
    for command in Cli::command().get_subcommands() {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let example = format!("cumo {}", command.get_name());
        assert!(help.contains(&example), "{}", command.get_name());
    }
}

#[test]
fn lines_of_help_that_are_laid_out_by_hand_fit_the_widest_terminal_and_no_other_is_broken() {
    let bench = Cli::command().find_subcommand("bench").unwrap().clone();
    for command in Cli::command().get_subcommands().chain(bench.get_subcommands()) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        for line in help.lines().filter(|line| !line.is_empty()) {
            // What is not indented is broken where the terminal ends, so that it has whole sentences.
            let holds = match line.starts_with(' ') {
                true => line.chars().count() <= 100,
                false => line.ends_with(['.', ':']),
            };
            assert!(holds, "{}: {line}", command.get_name());
        }
    }
}

#[test]
fn defaults_are_the_originals() {
    let cli = Cli::parse_from(["cumo", "run", "--model", "m", "--prompt", "p"]);
    let Command::Run(run) = cli.command else { panic!() };
    let options = run.generation.options(&GenerateOptions::default()).unwrap();
    assert_eq!(options, GenerateOptions::default());
    assert_eq!((options.max_new_tokens, options.sampling.temperature), (512, 0.2));
}

#[test]
fn ids_begin_with_a_hyphen_too() {
    let cli = Cli::parse_from(["cumo", "run", "--model", "m", "--prompt-ids", "-200,1,5"]);
    let Command::Run(run) = cli.command else { panic!() };
    assert_eq!(run.prompt_ids, Some(PromptIds(vec![-200, 1, 5])));
    assert_eq!(prompt_ids(""), Ok(PromptIds(Vec::new())));
    assert!(prompt_ids("1,,2").unwrap_err().contains("``"));
}

#[test]
fn biases_and_templates_say_what_can_be_given() {
    assert_eq!(bias("15:-2.5"), Ok((15, -2.5)));
    assert_eq!(bias("2:-inf"), Ok((2, f32::NEG_INFINITY)));
    assert!(bias("15").unwrap_err().contains("ID:BIAS"));
    assert!(bias("5:1e39").unwrap_err().contains("between -3.4028235e38 and 3.4028235e38"));
    let run = parse(&["--template", "v1"]).unwrap();
    assert_eq!(run.conversation.template, Some(PromptTemplate::V1));
    assert!(parse(&["--template", "v2"]).unwrap_err().contains("mistral_instruct_system"));
    let help = Cli::command().find_subcommand_mut("run").unwrap().render_long_help();
    assert!(help.to_string().contains("llava_llama_2"));
}

fn parse(arguments: &[&str]) -> Result<RunArgs, String> {
    let all = ["cumo", "run", "-m", "m", "-p", "p"].iter().chain(arguments);
    match Cli::try_parse_from(all) {
        Ok(Cli { command: Command::Run(run) }) => Ok(run),
        Ok(_) => Err("another command".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// What is said about arguments, of which the command line or the options' check may complain.
fn complaint(arguments: &[&str]) -> String {
    match parse(arguments) {
        Err(error) => error,
        Ok(run) => run.generation.options(&GenerateOptions::default()).unwrap_err().to_string(),
    }
}

#[test]
fn numbers_out_of_range_are_answered_with_the_range() {
    for (arguments, part) in [
        (["--temperature", "-1"], "temperature is -1; it must be 0 or more"),
        (["--temperature", "1e40"], "between -3.4028235e38 and 3.4028235e38"),
        (["--temperature", "warm"], "write a number, for example 0.5"),
        (["--temperature", "inf"], "temperature is inf; it must be 0 or more, and finite"),
        (["--presence-penalty", "-1e39"], "between -3.4028235e38 and"),
        (["--top-p", "-0.5"], "top-p is -0.5; it must be more than 0 and at most 1"),
        (["--top-k", "-1"], "write a whole number, 0 or more"),
        (["-n", "-1"], "write a whole number, 0 or more"),
        (["-n", "99999999999999999999"], "the number is too large"),
        (["--seed", "x"], "write a whole number, 0 or more"),
        (["--logit-bias", "5:1e39"], "between -3.4028235e38 and"),
        (["--logit-bias", "-5:1"], "write a whole number, 0 or more"),
        (["--stop", ""], "a stop text must have characters"),
        (["--threads", "0"], "it must be between 1 and "),
        (["--threads", "10000000"], "it must be between 1 and "),
        (["--threads", "-1"], "it must be between 1 and "),
    ] {
        let found = complaint(&arguments);
        assert!(found.contains(part), "{arguments:?}: {found}");
    }
}

#[test]
fn log_probabilities_are_for_json() {
    assert!(parse(&["--logprobs", "2"]).unwrap_err().contains("--json"));
    assert_eq!(parse(&["--logprobs", "2", "--json"]).unwrap().logprobs, Some(2));
    let chat = ["cumo", "chat", "-m", "m", "--logprobs", "2"];
    assert!(Cli::try_parse_from(chat).is_err());
}

#[test]
fn shells_are_offered_the_devices_of_the_table() {
    for shell in [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish]
    {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "cumo", &mut script);
        let script = String::from_utf8(script).unwrap();
        for device in cumo_plan::Device::ids().chain(["list"]) {
            assert!(script.contains(device), "{shell}: {device}");
        }
    }
}
