//! What is typed, and what it is taken for.

use super::*;

fn parse(text: &str) -> Result<Command> {
    super::parse(text.split_whitespace().map(str::to_owned))
}

#[test]
fn reads_commands_and_options() {
    assert_eq!(parse("").unwrap(), Command::Help(HELP.to_owned()));
    assert_eq!(parse("setup").unwrap(), Command::Setup { python: false, tensorrt: false });
    let both = Command::Setup { python: true, tensorrt: true };
    assert_eq!(parse("setup --tensorrt --python").unwrap(), both);
    assert_eq!(parse("test --quick").unwrap(), Command::Test { quick: true });
    assert_eq!(parse("format").unwrap(), Command::Format);
    let bench = Command::Bench { name: Some("moe".into()), args: vec!["--rows".into()] };
    assert_eq!(parse("bench moe --rows").unwrap(), bench);
}

#[test]
fn reads_what_to_run_on_a_gpu() {
    let device = |run| Command::Gpu(Request::Device(run));
    assert_eq!(parse("gpu").unwrap(), device(OnDevice::default()));
    assert_eq!(parse("gpu --stand-in").unwrap(), Command::Gpu(Request::StandIn));
    let only = OnDevice { parts: vec![Part::Answers, Part::Bench], ..OnDevice::default() };
    assert_eq!(parse("gpu --only answers,bench").unwrap(), device(only));
    let all = OnDevice {
        parts: Vec::new(),
        is_quick: true,
        minutes: Some(7.5),
        output: Some("table.md".into()),
        results: Some("r".into()),
        is_built: true,
    };
    let text = "gpu --quick --minutes 7.5 --output table.md --results r --built";
    assert_eq!(parse(text).unwrap(), device(all));
    let pack = |devices| Command::Gpu(Request::Pack { file: "x.tar.gz".into(), devices });
    assert_eq!(parse("gpu --pack x.tar.gz").unwrap(), pack(None));
    let two = Some(vec![90, 121]);
    assert_eq!(parse("gpu --pack x.tar.gz --for 9.0,12.1").unwrap(), pack(two));
    let error = |text: &str| parse(text).unwrap_err().to_string();
    assert_eq!(error("gpu --pack"), "`--pack` needs a value");
    let alone = "`--pack` goes with `--for` alone, and comes first";
    assert_eq!(error("gpu --pack x --quick"), alone);
    assert_eq!(error("gpu --quick --pack x"), alone);
    assert!(error("gpu --pack x --for 90").starts_with("`--for 90`: write compute"));
    assert!(error("gpu --minutes 0").starts_with("`--minutes 0`: write a number"));
    assert!(error("gpu --minutes NaN").starts_with("`--minutes NaN`: write a number"));
}

#[test]
fn reads_what_to_package() {
    let package = parse("package --target aarch64 --features ort --native none --emulate");
    let options = Options {
        target: Target::Aarch64,
        features: Some("ort".to_owned()),
        native: Native::None,
        with_export: false,
        emulate: true,
    };
    assert_eq!(package.unwrap(), Command::Package(options));
    let Ok(Command::Package(options)) = parse("package --target x86_64 --tensorrt headers") else {
        panic!("no package");
    };
    assert_eq!(options.native, Native::Build { tensorrt: Some("headers".into()) });
    let error = |text: &str| parse(text).unwrap_err().to_string();
    assert_eq!(error("package"), "`package` needs `--target aarch64` or `--target x86_64`");
    assert_eq!(error("package --target"), "`--target` needs a value");
    assert!(error("package --target riscv").starts_with("no package is made for `riscv`"));
    let both = error("package --target x86_64 --native none --tensorrt headers");
    assert!(both.starts_with("`--tensorrt` is for libraries that are built"), "{both}");
    assert_eq!(error("package --fast"), "`package` has no option `--fast`");
}

#[test]
fn every_command_says_what_it_does() {
    for name in [
        "setup",
        "native",
        "gpu",
        "demo",
        "test",
        "package",
        "bench-readme",
        "lint",
        "format",
        "licences",
        "tidy",
        "bench",
    ] {
        for text in [format!("{name} --help"), format!("{name} -h"), format!("help {name}")] {
            let Ok(Command::Help(text)) = parse(&text) else { panic!("{text}: no help") };
            assert!(text.contains(&format!("\n  {name} ")), "{name}: {text}");
            assert!(!text.contains("ORT_DYLIB_PATH"), "{name}: {text}");
        }
    }
    let Ok(Command::Help(package)) = parse("package --target aarch64 --help") else {
        panic!("no help")
    };
    assert!(package.contains("--with-export") && !package.contains("  lint"), "{package}");
    let Ok(Command::Help(gpu)) = parse("gpu --help") else { panic!("no help") };
    assert!(gpu.contains("kernels  every case") && gpu.contains("gpu --stand-in"), "{gpu}");
    let asked = Command::Bench { name: Some("moe".into()), args: vec!["--help".into()] };
    assert_eq!(parse("bench moe --help").unwrap(), asked);
    assert!(parse("tset --help").unwrap_err().to_string().starts_with("no command `tset`"));
}

#[test]
fn names_what_it_does_not_know() {
    assert!(parse("tset").unwrap_err().to_string().starts_with("no command `tset`"));
    let error = parse("test --fast").unwrap_err().to_string();
    assert_eq!(error, "`test` has no option `--fast`, only `--quick`");
    let error = |text: &str| parse(text).unwrap_err().to_string();
    assert_eq!(error("gpu --output"), "`--output` needs a value");
    assert_eq!(error("gpu --fast"), "`gpu` has no option `--fast`");
    assert_eq!(error("gpu --only x --stand-in").split(',').next(), Some("`gpu` has no part `x`"));
    let both = "gpu --output t.md --stand-in";
    assert_eq!(error(both), "`--stand-in` goes with no other option");
    let error = parse("setup --x").unwrap_err().to_string();
    assert_eq!(error, "`setup` has no option `--x`, only `--python`, `--tensorrt`");
    assert_eq!(parse("demo x").unwrap_err().to_string(), "`demo` takes no option, got `x`");
}
