//! `cumo chat` with the sample, from a pipe.
#![cfg(unix)]

mod support;

use std::io::{Read, Write};

use support::{Bundle, image, text};

#[test]
fn lines_of_a_script_are_questions_and_commands_and_errors_are_told_with_their_line() {
    let bundle = Bundle::new();
    let mut chat = bundle.cumo("chat");
    let mut chat = chat.args(["--temperature", "0", "--image", &image(0)]).spawn().unwrap();
    let script = format!(
        "How many shapes are there?\n\
         /image {second}\n\
         Describe the image.\n\
         /reset\n\
         /image nothing.png\n\
         /unknown\n\
         /image {second}\n\
         How many shapes are there?\n\
         /exit\n\
         Is this read?\n",
        second = image(1)
    );
    chat.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = chat.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "two lines were wrong");
    let (answers, said) = (text(&output.stdout), text(&output.stderr));
    let answers: Vec<&str> = answers.lines().collect();
    // The model was trained on one question about one image; its second answer may be poor.
    assert!(answers.len() == 3 && !answers[1].is_empty(), "{answers:?}");
    assert_eq!((answers[0], answers[2]), ("1", "4"));
    let said: Vec<&str> = said.lines().collect();
    assert_eq!(said[0], "the conversation and its 2 images are forgotten");
    assert!(said[1].starts_with("error: line 5: nothing.png: "), "{said:?}");
    assert!(said[2].starts_with("error: line 6: /unknown: no such command"), "{said:?}");
    assert_eq!(said.len(), 3, "{said:?}");
}

#[test]
fn ctrl_c_ends_an_answer_and_the_conversation_goes_on() {
    let bundle = Bundle::new();
    let mut chat = bundle.cumo("chat");
    // About two seconds an answer.
    let chat = chat.args(["--temperature", "0", "--ignore-eos", "--max-new-tokens", "1900"]);
    let mut chat = chat.spawn().unwrap();
    let (mut input, mut output) = (chat.stdin.take().unwrap(), chat.stdout.take().unwrap());
    let question = format!("/image {}\nDescribe the image.\n", image(0));
    input.write_all(question.as_bytes()).unwrap();
    let mut answers = vec![0];
    output.read_exact(&mut answers).unwrap();
    support::interrupt(chat.id());
    input.write_all(format!("/reset\n{question}").as_bytes()).unwrap();
    drop(input);
    output.read_to_end(&mut answers).unwrap();
    let output = chat.wait_with_output().unwrap();
    assert!(output.status.success(), "{:?}: {}", output.status, text(&output.stderr));
    let answers = text(&answers);
    let [ended, whole] = answers.lines().collect::<Vec<_>>()[..] else { panic!("{answers:?}") };
    assert!(!ended.is_empty() && ended.len() < whole.len(), "{answers:?}");
    assert!(whole.starts_with(ended), "{answers:?}");
}

#[test]
fn images_that_no_question_could_be_asked_about_are_not_kept() {
    let bundle = Bundle::new();
    let mut chat = bundle.cumo("chat").args(["--temperature", "0"]).spawn().unwrap();
    // 36 positions each, of 2,048.
    let script = format!("/image {}\n", image(0)).repeat(57)
        + &format!("/reset\n/image {}\nHow many shapes are there?\n", image(1));
    chat.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = chat.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "4\n");
    let said = text(&output.stderr);
    let said: Vec<&str> = said.lines().collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].starts_with("error: line 57: ") && said[0].contains("no room for another"));
    assert_eq!(said[1], "the conversation and its 56 images are forgotten");
}
