//! Every golden, exported and run by the runtime, stage by stage against the original code.
#![allow(clippy::unwrap_used, reason = "test code")]

use cumo_bundle::{AspectRatio, ImageFacts, Target, names};
use cumo_export::{FloatType, MoeKind};
use cumo_processor::{ImageLimits, ImageProcessor, load_image};
use cumo_runtime::{
    CancelToken, Executor, GenerateOptions, HostTensor, ImageEmbeds, Model, Position,
    SamplingOptions,
};
use cumo_tests::{Comparison, Exported, Golden, Prompt, Tolerances, onnxruntime_is_there};

/// A golden's image as the model's configuration wants it: what the original's processor gave.
fn pixels<'a>(golden: &'a Golden, model: &Model, image: &str) -> &'a HostTensor {
    let mode = match model.facts().image.aspect_ratio {
        AspectRatio::Pad => "pad",
        AspectRatio::Crop => "crop",
    };
    golden.tensor(&format!("pixel_values.{mode}.{image}"))
}

/// Positions of a prompt, images laid out row by row.
fn positions(prompt: &Prompt, image_tokens: usize) -> Vec<Position> {
    let mut image = 0;
    let mut positions = Vec::new();
    for id in &prompt.input_ids {
        match u32::try_from(*id) {
            Ok(id) => positions.push(Position::Token(id)),
            Err(_) => {
                positions.extend((0..image_tokens).map(|row| Position::Image { image, row }));
                image += 1;
            }
        }
    }
    positions
}

/// Runs every stage of every golden in one spelling and number format.
fn check(target: Target, dtype: FloatType) {
    check_each(target, dtype, None);
}

/// Runs every stage of every golden; layered bundles, which say what becomes of experts, over a
/// ladder of which 24 steps cross a rung at least once.
///
/// The language model of a layered bundle is given the golden's images: its matrix products are
/// f16, and an error that they make in an image turns choices between near equals in its routers.
fn check_each(target: Target, dtype: FloatType, layered: Option<MoeKind>) {
    onnxruntime_is_there();
    let limit = match dtype {
        FloatType::F32 => Tolerances::read().f32,
        FloatType::F16 => Tolerances::read().f16,
    };
    for golden in Golden::all() {
        let exported = Exported::new(&golden, target, dtype, layered);
        let exported = match layered {
            Some(_) => exported.with_rungs_every(16),
            None => exported,
        };
        let mut model = exported.open();
        let stage = |what: &str| format!("{} {target} {dtype:?} {what}", golden.name);
        let compare = |executor: &mut Executor, name: &str, what: &str| {
            let got = executor.activation(name).unwrap();
            Comparison::of(&got, golden.tensor(what)).assert_within(limit, &stage(what));
        };
        for image in golden.images() {
            let pixels = pixels(&golden, &model, &image);
            model.executor().encode_images(&pixels.values).unwrap();
            compare(model.executor(), names::IMAGE_FEATURES, &format!("image_features.{image}"));
            compare(model.executor(), names::IMAGE_EMBEDS, &format!("image_embeds.{image}"));
            check_routers(&golden, model.executor(), &image, limit, layered.is_some());
        }
        for (name, prompt) in &golden.prompts {
            let embeds = |image: &String| {
                if layered.is_some() {
                    let values = &golden.tensor(&format!("image_embeds.{image}")).values;
                    return vec![model.executor().put_image(values).unwrap()];
                }
                let pixels = pixels(&golden, &model, image).values.clone();
                model.executor().encode_images(&pixels).unwrap()
            };
            let images: Vec<ImageEmbeds> = prompt.images.iter().flat_map(embeds).collect();
            let positions = positions(prompt, model.facts().vision.image_tokens);
            let executor = model.executor();
            executor.truncate(0).unwrap();
            executor.reserve(positions.len() + 32, positions.len()).unwrap();
            executor.forward(&positions, &images).unwrap();
            compare(executor, names::INPUTS_EMBEDS, &format!("inputs_embeds.{name}"));
            let logits = executor.activation(names::LOGITS).unwrap();
            let want = last_rows(golden.tensor(&format!("logits.{name}")), &logits.shape);
            Comparison::of(&logits, &want).assert_within(limit, &stage(&format!("logits.{name}")));
            check_steps(&golden, executor, name, limit, layered.is_some());
            check_answer(&golden, &mut model, prompt, &images, name);
        }
    }
}

/// The rows of a golden's logits that a target gives: all, or the last one.
fn last_rows(golden: &HostTensor, shape: &[usize]) -> HostTensor {
    let values = &golden.values[golden.values.len() - shape.iter().product::<usize>()..];
    HostTensor { shape: shape.to_vec(), values: values.to_vec() }
}

/// Router probabilities and choices of all crops, which the original has scale by scale.
fn check_routers(golden: &Golden, executor: &mut Executor, image: &str, limit: f64, layered: bool) {
    let (mut compared, mut unused) = (0, 0);
    let tensors: Vec<&str> = golden
        .tensor_names()
        .filter(|name| name.starts_with("router.") && name.ends_with(&format!(".{image}.probs")))
        .collect();
    let modules: std::collections::BTreeSet<&str> = tensors
        .iter()
        .map(|name| {
            let module = name.strip_prefix("router.").unwrap();
            let end = module.find(".gate.").unwrap() + ".gate".len();
            &module[..end]
        })
        .collect();
    for module in modules {
        // The tower's last layer is in the original's figures and not in the export.
        let Ok(probs) = executor.activation(&names::router_probs(module)) else {
            unused += 1;
            continue;
        };
        let experts = executor.activation(&names::router_experts(module)).unwrap();
        let whole = |kind: &str| {
            let scales = tensors
                .iter()
                .filter(|name| name.starts_with(&format!("router.{module}.")))
                .map(|name| golden.tensor(&name.replace(".probs", kind)));
            let mut shape = vec![0];
            let mut values = Vec::new();
            for tensor in scales {
                let crops = shape[0] + tensor.shape[0];
                shape.clone_from(&tensor.shape);
                shape[0] = crops;
                values.extend_from_slice(&tensor.values);
            }
            HostTensor { shape, values }
        };
        let stage = format!("{} router {module} {image}", golden.name);
        Comparison::of(&probs, &whole(".probs")).assert_within(limit, &stage);
        let (got, want) = (rows(&experts, layered), rows(&whole(".experts"), layered));
        assert_eq!(got, want, "{stage}");
        compared += 1;
    }
    let has_routers = !tensors.is_empty();
    assert!(unused <= 1 && (compared > 0) == has_routers, "{} of {unused}", golden.name);
}

/// The experts that each row chooses, best first; or in the order of their numbers, where products
/// are f16: they turn two near equals around, and of chosen experts the order means nothing.
fn rows(experts: &HostTensor, by_number: bool) -> Vec<Vec<u32>> {
    let row = |row: &[f32]| {
        let mut experts: Vec<u32> = row.iter().map(|expert| *expert as u32).collect();
        if by_number {
            experts.sort_unstable();
        }
        experts
    };
    experts.values.chunks(experts.shape[2]).map(row).collect()
}

/// 24 steps with the cache, each given the original's token.
fn check_steps(golden: &Golden, executor: &mut Executor, name: &str, limit: f64, layered: bool) {
    let want = golden.tensor(&format!("step_logits.{name}"));
    let mut scores = Vec::new();
    let (mut got, mut best) = (Vec::new(), Vec::new());
    for token in &golden.prompts[name].greedy_tokens {
        executor.logits(&mut scores).unwrap();
        if layered {
            assert!(executor.candidates(scores.len().min(64), &mut best).unwrap());
            assert_best(&best, &scores);
        }
        got.extend_from_slice(&scores);
        executor.forward(&[Position::Token(*token)], &[]).unwrap();
    }
    let got = HostTensor { shape: want.shape.clone(), values: got };
    let stage = format!("{} step_logits.{name}", golden.name);
    Comparison::of(&got, want).assert_within(limit, &stage);
}

/// The tokens that a graph has picked out are the best of all.
fn assert_best(best: &[(f32, u32)], scores: &[f32]) {
    let mut all: Vec<(f32, u32)> = scores.iter().copied().zip(0..).collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    assert_eq!(best, &all[..best.len()]);
}

/// The answer of the decoding loop, token by token.
fn check_answer(
    golden: &Golden,
    model: &mut Model,
    prompt: &Prompt,
    images: &[ImageEmbeds],
    name: &str,
) {
    let options = GenerateOptions {
        max_new_tokens: prompt.greedy_tokens.len(),
        sampling: SamplingOptions { temperature: 0.0, ..SamplingOptions::default() },
        ignore_eos: true,
        ..GenerateOptions::default()
    };
    let answer = model
        .generate(&prompt.input_ids, images, &options, &CancelToken::new(), &mut |_| ())
        .unwrap();
    assert_eq!(answer.tokens, prompt.greedy_tokens, "{} {name}", golden.name);
}

#[test]
fn portable_f32_bundles_compute_what_the_original_does() {
    check(Target::Onnx, FloatType::F32);
}

#[test]
fn portable_f16_bundles_compute_what_the_original_does() {
    check(Target::Onnx, FloatType::F16);
}

#[test]
fn ort_cpu_f32_bundles_compute_what_the_original_does() {
    check(Target::OrtCpu, FloatType::F32);
}

#[test]
fn ort_cpu_f16_bundles_compute_what_the_original_does() {
    check(Target::OrtCpu, FloatType::F16);
}

#[test]
fn tensorrt_bundles_compute_what_the_original_does() {
    check_each(Target::Tensorrt, FloatType::F16, Some(MoeKind::Plugin));
}

#[test]
fn tensorrt_bundles_of_functions_compute_what_the_original_does() {
    check_each(Target::Tensorrt, FloatType::F16, Some(MoeKind::Function));
}

#[test]
fn tensorrt_10_3_bundles_compute_what_the_original_does() {
    check_each(Target::Tensorrt103, FloatType::F16, Some(MoeKind::Plugin));
}

#[test]
fn tensorrt_10_3_bundles_of_functions_compute_what_the_original_does() {
    check_each(Target::Tensorrt103, FloatType::F16, Some(MoeKind::Function));
}

#[test]
fn pixels_are_those_of_the_original_bit_for_bit() {
    for golden in Golden::all() {
        let mut compared = 0;
        for name in golden.tensor_names().filter(|name| name.starts_with("pixel_values.")) {
            let parts: Vec<&str> = name.split('.').collect();
            let [_, mode, image] = parts.as_slice() else { panic!("{name}") };
            let want = golden.tensor(name);
            let facts = ImageFacts {
                size: want.shape[2],
                aspect_ratio: match *mode {
                    "pad" => AspectRatio::Pad,
                    _ => AspectRatio::Crop,
                },
                mean: [0.48145466, 0.4578275, 0.40821073],
                std: [0.26862954, 0.261_302_6, 0.275_777_1],
            };
            let image = load_image(&golden.image(image), &ImageLimits::default()).unwrap();
            let got = ImageProcessor::new(&facts).process(&image);
            let equal = got.iter().zip(&want.values).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(got.len() == want.values.len() && equal, "{} {name}", golden.name);
            compared += 1;
        }
        assert_eq!(compared, 6, "{}", golden.name);
    }
}
