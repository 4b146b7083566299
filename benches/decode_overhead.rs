//! The runtime's own time for each generated token: what passes between two tokens and is not spent
//! in ONNX Runtime. Sampling, text, binding and copies are in it.
//!
//! `cargo xtask bench decode_overhead [CHECKPOINT]`, by default the sample; relative to
//! the repository's root. The prompt fills the
//! cache to 1,000 positions; the limit is 20 microseconds a token, greedy and from the 50 best.
#![allow(clippy::print_stdout, reason = "a command-line program")]

use std::path::Path;

use anyhow::{Context, Result, bail};
use cumo_benches::{Random, Times};
use cumo_bundle::Target;
use cumo_checkpoint::Sources;
use cumo_export::{FloatType, OnnxOptions, Quiet, RouterOutputs, export_onnx};
use cumo_runtime::{CancelToken, GenerateOptions, Model, ModelOptions, SamplingOptions};

/// Positions in the cache before the first generated token.
const CONTEXT: usize = 1_000;

/// Tokens that each answer has.
const TOKENS: usize = 64;

const REPETITIONS: usize = 20;

const LIMIT_US: f64 = 20.0;

fn main() -> Result<()> {
    let argument = std::env::args().skip(1).find(|argument| argument != "--bench");
    // Cargo starts benchmarks in their crate's folder.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let checkpoint = root.join(argument.as_deref().unwrap_or("samples/shapes/checkpoint"));
    let folder = tempfile::tempdir()?;
    println!("context {CONTEXT}, {REPETITIONS} answers of {TOKENS} tokens; microseconds a token");
    println!(
        "{:8} {:8} {:>8} {:>8} {:>12} {:>7}",
        "target", "sampling", "own", "own p90", "with graphs", "limit"
    );
    let mut over = 0;
    for target in [Target::OrtCpu, Target::Onnx] {
        let bundle = folder.path().join(target.name());
        export(&checkpoint, target, &bundle)?;
        let mut model = Model::open(&bundle, &ModelOptions::default())?;
        for (name, temperature, top_k) in [("greedy", 0.0, 0), ("top-k 50", 1.0, 50)] {
            let sampling = SamplingOptions { temperature, top_k, ..SamplingOptions::default() };
            let (own, all) = measure(&mut model, sampling)?;
            let (median, p90) = (own.median_ms() * 1e3, own.quantile_ms(0.9) * 1e3);
            let all = all.median_ms() * 1e3;
            println!(
                "{:8} {name:8} {median:>8.1} {p90:>8.1} {all:>12.1} {LIMIT_US:>7.0}",
                target.name()
            );
            over += usize::from(median > LIMIT_US);
        }
    }
    if over > 0 {
        bail!("{over} medians are over the limit");
    }
    Ok(())
}

fn export(checkpoint: &Path, target: Target, output: &Path) -> Result<()> {
    let sources = Sources { checkpoint: checkpoint.to_owned(), llm: None, clip: None };
    let options = OnnxOptions {
        sources,
        output: output.to_owned(),
        target,
        dtype: FloatType::F32,
        template: None,
        moe: None,
        name: None,
        router_outputs: RouterOutputs::default(),
        force: false,
    };
    export_onnx(&options, &Quiet).with_context(|| format!("exporting {}", checkpoint.display()))?;
    Ok(())
}

/// Mean times of a token, answer by answer: the runtime's own, and all.
fn measure(model: &mut Model, sampling: SamplingOptions) -> Result<(Times, Times)> {
    let facts = model.facts().llm.clone();
    if facts.context_length < CONTEXT + TOKENS {
        bail!("the model's context is {}, {} are needed", facts.context_length, CONTEXT + TOKENS);
    }
    let mut random = Random::new(4011);
    let bos = i64::from(facts.bos_token_id);
    let words = std::iter::repeat_with(|| random.below(facts.vocab_size) as i64);
    let ids: Vec<i64> = std::iter::once(bos).chain(words).take(CONTEXT).collect();
    let options =
        GenerateOptions { max_new_tokens: TOKENS, ignore_eos: true, sampling, stop: Vec::new() };
    let cancel = CancelToken::default();
    let (mut own, mut all) = (Times::default(), Times::default());
    // The first answer fills the cache; the others find the prompt in it.
    for repetition in 0..=REPETITIONS {
        let answer = model.generate(&ids, &[], &options, &cancel, &mut |_| {})?;
        if answer.times.decode_passes != TOKENS - 1 {
            bail!("{} passes instead of {}", answer.times.decode_passes, TOKENS - 1);
        }
        if repetition > 0 {
            own.push(answer.times.overhead_per_token().context("no token")?);
            all.push(answer.times.per_token().context("no token")?);
        }
    }
    Ok((own, all))
}
