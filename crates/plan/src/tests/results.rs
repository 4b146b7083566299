//! Results beside their bounds.

use cumo_bundle::{FloatType, Target};
use cumo_results::schema::{Answer, FirstToken, Generation, Image, Model, ModelPart, Prefill};

use super::{of, on, request};
use crate::testing::mistral_7b_facts;
use crate::*;

fn memory_of(plan: &Plan) -> Vec<(&str, Option<u64>, Option<f64>)> {
    let rows = plan.measured.iter().flat_map(|measured| &measured.memory);
    rows.map(|row| (row.memory.as_str(), row.planned_bytes, row.over_plan)).collect()
}

/// A model, its plan on a board, and what was measured there: each stage in twice the time that it
/// is bounded by.
fn measured() -> (Subject, Plan, cumo_results::BenchResult) {
    let subject = Subject::of_model(&mistral_7b_facts()).unwrap();
    let plan = on("agx-orin-64gb", &mistral_7b_facts(), &request());
    let bounds = of(&plan, Target::Tensorrt, FloatType::F16).bounds.clone().unwrap();
    let mut result = cumo_results::BenchResult {
        model: Model {
            name: "cumo-mistral-7b".to_owned(),
            target: "tensorrt".to_owned(),
            parts: [(
                "llm".to_owned(),
                ModelPart { weights: "f16".to_owned(), ..ModelPart::default() },
            )]
            .into(),
            ..Model::default()
        },
        ..cumo_results::BenchResult::default()
    };
    result.environment.main_memory_bytes = Some(plan.device.visible_bytes);
    result.environment.board = Some(cumo_results::schema::Board {
        name: "NVIDIA Jetson AGX Orin Developer Kit".to_owned(),
        ..cumo_results::schema::Board::default()
    });
    result.configuration.prompt_tokens = 64;
    result.configuration.images = vec![Image::default()];
    let twice = |bound: f64| (bound * 2e6).round() as u64;
    let vision_ns = Some(twice(bounds.vision.unwrap().milliseconds));
    // The middle one of three counts.
    result.answers = [Some(1), vision_ns, Some(u64::MAX)]
        .map(|vision_ns| Answer {
            first_token: FirstToken { vision_ns, ..FirstToken::default() },
            ..Answer::default()
        })
        .to_vec();
    result.prefill = vec![Prefill { tokens: 512, depth_tokens: 0, repetitions_ns: vec![] }];
    let tokens = vec![vec![twice(bounds.decode[0].token.milliseconds); 4]; 2];
    result.generation =
        vec![Generation { tokens: 4, depth_tokens: 638, repetitions_inter_token_ns: tokens }];
    (subject, plan, result)
}

#[test]
fn a_result_is_put_beside_the_bounds_of_what_it_measured() {
    let (subject, plan, mut result) = measured();
    let measured = plan.clone().with_result(&subject, &result).unwrap();
    let stages = &measured.measured.as_ref().unwrap().stages;
    let names: Vec<&str> = stages.iter().map(|stage| stage.stage.as_str()).collect();
    assert_eq!(names, ["vision, 1 image", "tg 4 behind 638"]);
    assert!(stages.iter().all(|stage| (stage.share - 0.5).abs() < 1e-6), "{stages:?}");
    assert!(measured.to_string().contains("50.0 %"));
    assert!(measured.measured.unwrap().notes.is_empty());

    result.environment.board = None;
    result.environment.processor.name = Some("Some Xeon".to_owned());
    let measured = plan.clone().with_result(&subject, &result).unwrap();
    let note = "measured on `Some Xeon`, a processor, the bounds are those of agx-orin-64gb";
    assert!(measured.to_string().contains(note), "{measured}");
    assert!(serde_json::to_string(&measured).unwrap().contains(note));

    result.environment.device = Some(cumo_results::schema::Device {
        name: "NVIDIA GeForce RTX 4090".to_owned(),
        ..cumo_results::schema::Device::default()
    });
    result.environment.power_mode = Some("450 W".to_owned());
    let measured = plan.clone().with_result(&subject, &result).unwrap();
    let text = measured.to_string();
    assert!(text.contains("measured on rtx-4090, the bounds are those of agx-orin-64gb"), "{text}");
    assert!(text.contains("in mode 450 W, the bounds are those of 30W"), "{text}");

    result.model.target = "tensorrt-99".to_owned();
    let error = plan.clone().with_result(&subject, &result).unwrap_err();
    assert!(matches!(error, Error::OtherPrecision { .. }), "{error}");
    result.model.name = "another".to_owned();
    let error = plan.with_result(&subject, &result).unwrap_err().to_string();
    assert_eq!(error, "the result is of `another`, not of `cumo-mistral-7b`");
}

#[test]
fn memory_that_was_measured_is_put_beside_what_is_planned_for_the_same_work() {
    let (subject, plan, mut result) = measured();
    // The same work's weights, cache of as many positions as a rung has, and all of it.
    let own = of(&plan, Target::Tensorrt, FloatType::F16);
    let cache = 1024 * 128 * 1024;
    result.memory = cumo_results::schema::Memory {
        weights_bytes: Some(own.weights_bytes),
        cache_bytes: Some(cache),
        peak_process_bytes: Some(700),
        peak_device_bytes: Some(2 * own.weights_bytes),
        device_process_bytes: None,
    };
    let planned = plan.clone().with_result(&subject, &result).unwrap();
    let [weights, cached, device, process] = memory_of(&planned).try_into().unwrap();
    assert_eq!(weights, ("weights", Some(own.weights_bytes), Some(1.0)));
    assert_eq!(cached, ("cache, 1024 positions", Some(cache), Some(1.0)));
    let all = device.1.unwrap();
    assert!(all > own.weights_bytes + cache && all < own.total_bytes, "{all}");
    assert_eq!(device.2, Some(2.0 * own.weights_bytes as f64 / all as f64));
    assert_eq!(process, ("peak of the process", None, None));
    assert!(planned.to_string().contains("cache, 1024 positions"), "{planned}");
    // Engines have room for what they were built for; a processor has all of it in the process.
    result.model.engines_sha256 = Some("ab".repeat(32));
    result.model.context_length = Some(2048);
    result.memory.peak_device_bytes = None;
    let planned = plan.clone().with_result(&subject, &result).unwrap();
    let [_, cached, process] = memory_of(&planned).try_into().unwrap();
    assert_eq!(cached, ("cache, 2048 positions", Some(2 * cache), Some(0.5)));
    assert!(process.1.unwrap() > all, "{process:?}");
}

#[test]
fn a_prompt_is_bounded_with_the_positions_of_its_images() {
    let subject = Subject::of_model(&mistral_7b_facts()).unwrap();
    let plan = on("agx-orin-64gb", &mistral_7b_facts(), &Request { images: 2, ..request() });
    let bound = of(&plan, Target::Tensorrt, FloatType::F16).bounds.as_ref().unwrap().prefill;
    let prefill_ns = Some((2e6 * bound.unwrap().milliseconds).round() as u64);
    let part = ModelPart { weights: "f16".to_owned(), ..ModelPart::default() };
    let mut result = cumo_results::BenchResult {
        model: Model {
            name: "cumo-mistral-7b".to_owned(),
            target: "tensorrt".to_owned(),
            parts: [("llm".to_owned(), part)].into(),
            ..Model::default()
        },
        answers: vec![Answer {
            first_token: FirstToken { prefill_ns, ..FirstToken::default() },
            ..Answer::default()
        }],
        ..cumo_results::BenchResult::default()
    };
    result.configuration.prompt_tokens = plan.request.prompt_tokens;
    result.configuration.images = vec![Image::default(); 2];
    let measured = plan.with_result(&subject, &result).unwrap().measured.unwrap();
    let prefill = measured.stages.iter().find(|stage| stage.stage.starts_with("prefill")).unwrap();
    assert_eq!(prefill.stage, format!("prefill, {} positions", 2 * 576 + 64));
    assert!((prefill.share - 0.5).abs() < 1e-6, "{prefill:?}");
}
