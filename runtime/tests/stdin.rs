//! Images of standard input.
#![cfg(unix)]

mod support;

use std::fs::{self, File};
use std::process::{Output, Stdio};

use support::{Bundle, image, text};

/// A question about the image on standard input, beside other arguments.
fn ask(bundle: &Bundle, command: &str, arguments: &[&str], input: Stdio) -> Output {
    let mut cumo = bundle.cumo(command);
    cumo.args(["--image", "-", "--temperature", "0"]).args(arguments).stdin(input);
    cumo.output().unwrap()
}

const QUESTION: [&str; 2] = ["--prompt", "How many shapes are there?"];

fn failure(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "");
    text(&output.stderr)
}

#[test]
fn an_image_of_standard_input_is_answered_as_its_file_is() {
    let bundle = Bundle::new();
    for (number, answer) in [(0, "1\n"), (1, "4\n")] {
        let file = File::open(image(number)).unwrap();
        let output = ask(&bundle, "run", &QUESTION, file.into());
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(text(&output.stdout), answer);
    }
    let second = image(1);
    let both = ["--image", &second, "--prompt", "How many shapes are there?", "--json"];
    let output = ask(&bundle, "run", &both, File::open(image(0)).unwrap().into());
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn standard_input_that_is_no_image_is_named() {
    let bundle = Bundle::new();
    let said = failure(&ask(&bundle, "run", &QUESTION, Stdio::null()));
    assert!(said.contains("--image -: standard input is empty"), "{said}");
    let text_file = bundle.beside("text");
    fs::write(&text_file, "no image").unwrap();
    let said = failure(&ask(&bundle, "run", &QUESTION, File::open(text_file).unwrap().into()));
    assert!(said.contains("standard input: not an image of a supported format"), "{said}");
    // Endless, and read no further than an image may be large.
    let endless = File::open("/dev/zero").unwrap();
    let said = failure(&ask(&bundle, "run", &QUESTION, endless.into()));
    assert!(said.contains("standard input has more than 67108864 bytes"), "{said}");
}

#[test]
fn standard_input_is_one_image_and_not_the_lines_of_a_conversation() {
    let bundle = Bundle::new();
    let twice = ["--image", "-", "--prompt", "Which?"];
    let said = failure(&ask(&bundle, "run", &twice, Stdio::null()));
    assert!(said.contains("standard input has one image, and 2 are to come from it"), "{said}");
    let said = failure(&ask(&bundle, "chat", &[], Stdio::null()));
    assert!(said.contains("--image -: standard input has the conversation's lines"), "{said}");
    let lines = bundle.beside("lines");
    fs::write(&lines, "/image -\n").unwrap();
    let mut chat = bundle.cumo("chat");
    let said = failure(&chat.stdin(File::open(lines).unwrap()).output().unwrap());
    assert!(said.contains("line 1: /image -: standard input has"), "{said}");
}
