//! Shares of bounds, against numbers that were counted by hand from the published shapes.

use cumo_results::BenchResult;
use cumo_results::schema::{
    Answer, Device as Card, FirstToken, Generation, Image, Model, ModelPart,
};

use super::on;
use crate::testing::mixtral_8x7b_facts;
use crate::*;

/// What decoding a token behind 1,000 positions reads of CuMo-Mixtral-8x7B in half precision.
fn decoded_bytes() -> f64 {
    // Of 32 layers: queries and outputs, keys and values, and two experts of three matrices.
    let layer = 2 * 4096 * 4096 + 2 * 1024 * 4096 + 2 * 3 * 4096 * 14336;
    let head = 32000 * 4096;
    // In f32: two norms and a router of eight a layer, and the last norm.
    let small = 32 * (2 * 4096 + 8 * 4096) + 4096;
    let row_of_embedding = 4096;
    // Keys and values of 8 heads of 128 in 32 layers.
    let cache = 1000 * 32 * 2 * 8 * 128;
    f64::from(4 * small + 2 * (head + row_of_embedding + cache)) + 2.0 * 32.0 * f64::from(layer)
}

/// Operations of the tower on an image at scales 1 and 3: ten crops, 23 layers that run, two of four
/// experts.
fn vision_flops() -> f64 {
    let (h, inner, positions) = (1024.0, 4096.0, 577.0);
    let (projections, experts, router) = (4.0 * h * h, 2.0 * 2.0 * h * inner, 4.0 * h);
    // Scores, and their products with the values.
    let attention = 2.0 * (2.0 * positions * positions * h);
    let patches = 2.0 * 576.0 * (14.0 * 14.0 * 3.0) * h;
    let layer = positions * 2.0 * (projections + experts + router) + attention;
    10.0 * (patches + 23.0 * layer)
}

fn result(token_ms: f64, vision_ms: f64) -> BenchResult {
    let ns = |milliseconds: f64| (milliseconds * 1e6).round() as u64;
    let part = ModelPart { weights: "f16".to_owned(), ..ModelPart::default() };
    let mut result = BenchResult {
        model: Model {
            name: "cumo-mixtral-8x7b".to_owned(),
            target: "tensorrt".to_owned(),
            parts: [("llm".to_owned(), part)].into(),
            ..Model::default()
        },
        answers: vec![Answer {
            first_token: FirstToken { vision_ns: Some(ns(vision_ms)), ..FirstToken::default() },
            ..Answer::default()
        }],
        // The middle of four tokens behind 998 is the one behind 1,000.
        generation: vec![Generation {
            tokens: 4,
            depth_tokens: 998,
            repetitions_inter_token_ns: vec![vec![ns(token_ms); 4]],
        }],
        ..BenchResult::default()
    };
    result.configuration.images = vec![Image::default()];
    result.environment.device = Some(Card {
        name: "NVIDIA H200".to_owned(),
        memory_bytes: Some(143_771 << 20),
        ..Card::default()
    });
    result
}

/// Stages that were measured at half the bound's speed, whose bounds are these: `token_ms` and
/// `vision_ms`.
fn are_halves(measured: &Measured, token_ms: f64, vision_ms: f64) {
    let stage = |name: &str| measured.stages.iter().find(|stage| stage.stage == name).unwrap();
    let near = |value: f64, wanted: f64| (value / wanted - 1.0).abs() < 1e-5;
    let (token, vision) = (stage("tg 4 behind 998"), stage("vision, 1 image"));
    assert!(near(token.bound_milliseconds, token_ms), "{token:?}, {token_ms} ms");
    assert!(near(vision.bound_milliseconds, vision_ms), "{vision:?}, {vision_ms} ms");
    assert!(near(token.share, 0.5) && near(vision.share, 0.5), "{token:?} {vision:?}");
    assert_eq!((token.limit, vision.limit), (Limit::Bandwidth, Limit::Compute));
}

#[test]
fn decode_is_held_against_the_bytes_of_the_chosen_experts_and_vision_against_their_work() {
    assert_eq!(decoded_bytes(), 25_631_416_320.0);
    assert_eq!(vision_flops(), 5_887_930_081_280.0);
    // The data sheet's 4,800 GB/s and 989 TFLOPS: 5.34 ms and 5.95 ms.
    let (token, vision) = (decoded_bytes() / 4.8e9, vision_flops() / 989e9);
    let facts = mixtral_8x7b_facts();
    let subject = Subject::of_model(&facts).unwrap();
    let result = result(2.0 * token, 2.0 * vision);
    let plan = on("h200", &facts, &Request::default()).with_result(&subject, &result).unwrap();
    let measured = plan.measured.unwrap();
    are_halves(&measured, token, vision);
    assert!(measured.notes.is_empty(), "{:?}", measured.notes);
}

#[test]
fn a_device_that_the_table_lacks_is_held_against_the_rates_that_it_is_described_with() {
    let facts = mixtral_8x7b_facts();
    let subject = Subject::of_model(&facts).unwrap();
    let described =
        CustomDevice { memory_gb: 141.0, bandwidth_gbs: 1000.0, f16_tflops: 100.0, watts: None };
    let device = Device::custom(described).unwrap();
    let (token, vision) = (decoded_bytes() / 1e9, vision_flops() / 1e11);
    let result = result(2.0 * token, 2.0 * vision);
    let plan = plan(&subject, &device, &Request::default()).unwrap();
    are_halves(&plan.with_result(&subject, &result).unwrap().measured.unwrap(), token, vision);
}
