//! Configurations that are refused, and why.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::fixture::*;

/// Asserts that `config.json` with `key` set to `value` is refused with each of `parts`.
fn refused(key: &str, value: Value, parts: &[&str]) {
    let text = Form::default().spec().set(key, value).refusal();
    assert_all(&text, parts);
    assert_all(&text, &[&format!("config.json: `{key}`")]);
}

#[test]
fn absurd_numbers() {
    refused("num_attention_heads", json!(0), &["is 0, it should be from 1 to"]);
    refused(
        "num_hidden_layers",
        json!(1_000_000_000_000_u64),
        &["is 1000000000000, it should be from 1 to 1024"],
    );
    refused("num_selected", json!(99), &["is 99, it should be from 1 to 3"]);
    refused("num_selected", json!(0), &["is 0, it should be from 1 to 3"]);
    refused(
        "num_experts",
        json!(40_000),
        &["is 40000 for 2 layers, it should be from 1 to 65536 in all"],
    );
    refused("hidden_size", json!(-4096), &["is -4096, it should be from 1"]);
    refused("hidden_size", json!(4096.5), &["is 4096.5, it should be a whole number"]);
    refused("hidden_size", json!("4096"), &["is \"4096\", it should be a whole number"]);
    refused("vocab_size", json!(u64::MAX), &["is 18446744073709551615, it should be from 1"]);
    refused("rms_norm_eps", json!(-1.0), &["is -1.0, it should be from 0 to 1"]);
    refused("rope_theta", json!(0), &["is 0, it should be from 1 to"]);
    refused("sliding_window", json!(0), &["is 0, it should be from 1"]);
    refused("eos_token_id", json!([2, 16]), &["is 16, it should be from 0 to 15"]);
    refused("eos_token_id", json!([]), &["is a list of 0, it should be an id or a list of ids"]);
}

#[test]
fn numbers_that_do_not_fit_each_other() {
    refused(
        "hidden_size",
        json!(9),
        &["is 9, which is not a multiple of `num_attention_heads` = 2"],
    );
    let text = Form::default()
        .spec()
        .set("num_attention_heads", 4)
        .set("num_key_value_heads", 3)
        .refusal();
    assert_all(
        &text,
        &["`num_attention_heads` is 4, which is not a multiple of `num_key_value_heads` = 3"],
    );
    let text = Form::default().spec().set("hidden_size", 6).refusal();
    assert_all(&text, &["`head_dim` is 3, rotary embeddings need an even number"]);
    refused("mm_hidden_size", json!(7), &["is 7, but the vision tower's `hidden_size` is 6"]);
    refused("mlp_smoe", json!(false), &["is false, but `mm_projector_type` is smoe_mlp"]);
}

#[test]
fn scales() {
    refused("scales", json!([]), &["is a list of 0, it should be from 1 to 64"]);
    refused("scales", json!([1, 0]), &["is 0, it should be from 1 to 64"]);
    refused("scales", json!([1, 1000]), &["is 1000, it should be from 1 to 64"]);
    refused("scales", json!([1, 1.5]), &["is 1.5, it should be a whole number"]);
    refused("scales", json!("1,3"), &["is \"1,3\", it should be a list of whole numbers"]);
    refused("scales", json!([2, 3]), &["not supported, because", "it must be 1"]);
    refused(
        "mm_vision_select_feature",
        json!("cls_patch"),
        &["not supported, because", "`scales` other than [1]"],
    );
}

#[test]
fn what_other_models_have_is_not_supported_because() {
    for (key, value) in [
        ("image_aspect_ratio", json!("anyres")),
        ("image_aspect_ratio", json!("anyres_max_9")),
        ("model_type", json!("llava_mpt")),
        ("model_type", json!("qwen2")),
        ("model_type", json!("mistral")),
        ("mm_vision_select_layer", json!(-1)),
        ("mm_vision_select_feature", json!("cls")),
        ("mm_patch_merge_type", json!("spatial_unpad")),
        ("mm_projector_type", json!("identity")),
        ("mm_projector_type", json!("mlp999x_gelu")),
        ("mm_projector_type", json!("mlp2x_res")),
        ("mm_resampler_type", json!("perceiver")),
        ("mm_use_im_start_end", json!(true)),
        ("mm_vision_tower", json!("google/siglip-so400m-patch14-384")),
        ("rope_scaling", json!({ "type": "linear", "factor": 2.0 })),
        ("quantization_config", json!({ "bits": 4 })),
        ("hidden_act", json!("gelu")),
        ("attention_bias", json!(true)),
        ("s2", json!(true)),
    ] {
        refused(key, value, &["is not supported, because"]);
    }
}

#[test]
fn plain_rotary_embeddings_may_be_spelled_out() {
    let spec = Form::default()
        .spec()
        .set("rope_parameters", json!({ "rope_type": "default", "rope_theta": 5e5 }));
    assert_eq!(spec.open().unwrap().config.llm.rope_theta, 5e5);
}

#[test]
fn every_problem_is_named_once() {
    let mut spec = Form::default()
        .spec()
        .set("num_attention_heads", 0)
        .set("num_selected", 99)
        .set("model_type", json!(["x"]))
        .set("scales", json!([]))
        .set("clip_smoe", "yes")
        .set("mm_projector_type", 5)
        .set("image_aspect_ratio", "anyres");
    spec.clip.insert("hidden_act".into(), "gelu".into());
    spec.preprocessor.insert("image_std".into(), json!([0, 1, 1]));
    let text = spec.refusal();
    let keys = [
        "`model_type`",
        "`scales`",
        "`clip_smoe`",
        "`mm_projector_type`",
        "`image_aspect_ratio`",
        "`hidden_act`",
        "`image_std`",
    ];
    for key in keys {
        assert_eq!(text.matches(key).count(), 1, "{key}: {text}");
    }
}

#[test]
fn missing_keys() {
    let without = |key: &str| Form::default().spec().unset(key).refusal();
    assert_all(&without("model_type"), &["`model_type` is missing; it should be `llava_mistral`"]);
    assert_all(&without("num_experts"), &["`num_experts` is missing; it should be a whole number"]);
    assert_all(&without("mm_vision_tower"), &["`mm_vision_tower` is missing; it should be a CLIP"]);
}

#[test]
fn towers_that_are_not_clip_s() {
    let refused = |key: &str, value: Value, part: &str| {
        let mut spec = Form::default().spec();
        spec.clip.insert(key.into(), value);
        assert_all(&spec.refusal(), &["clip/config.json", part]);
    };
    refused(
        "model_type",
        json!("siglip_vision_model"),
        "not supported, because the vision tower must be CLIP's",
    );
    refused("hidden_act", json!("gelu"), "not supported, because CuMo's CLIP has `quick_gelu`");
    refused("num_channels", json!(1), "not supported, because images are RGB");
    refused(
        "num_attention_heads",
        json!(4),
        "`hidden_size` is 6, which is not a multiple of `num_attention_heads` = 4",
    );
    refused("patch_size", json!(29), "`patch_size` is 29, it should be from 1 to 28");
}

#[test]
fn preprocessors_that_do_something_else() {
    let refused = |key: &str, value: Value, part: &str| {
        let mut spec = Form::default().spec();
        spec.preprocessor.insert(key.into(), value);
        assert_all(&spec.refusal(), &["clip/preprocessor_config.json", part]);
    };
    refused(
        "size",
        json!({ "shortest_edge": 30 }),
        "`size` is 30, but the tower's `image_size` is 28",
    );
    refused("crop_size", json!({ "height": 28, "width": 14 }), "images are square");
    refused("do_center_crop", json!(false), "not supported, because");
    refused("resample", json!(2), "only PIL's bicubic filter, 3, is known");
    refused("rescale_factor", json!(0.5), "pixels are divided by 255");
    refused("image_mean", json!([0.5]), "it should be a list of three numbers");
}

#[test]
fn sizes_of_preprocessors_may_be_plain_numbers() {
    let mut spec = Form::default().spec();
    spec.preprocessor.insert("size".into(), 28.into());
    spec.preprocessor.insert("crop_size".into(), 28.into());
    assert_eq!(spec.open().unwrap().config.image.size, 28);
}

#[test]
fn files_that_are_no_configuration() {
    let dir = Form::default().spec().write();
    let path = dir.path().join("config.json");
    std::fs::write(&path, "{\"model_type\": ").unwrap();
    assert_all(&message(&open(dir.path()).unwrap_err()), &["config.json: malformed", "line 1"]);
    std::fs::write(&path, "[".repeat(100_000)).unwrap();
    assert_all(&message(&open(dir.path()).unwrap_err()), &["config.json: malformed"]);
    std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    assert_all(&message(&open(dir.path()).unwrap_err()), &["has 1099511627776 bytes, at most"]);
    std::fs::remove_file(&path).unwrap();
    assert_all(&message(&open(dir.path()).unwrap_err()), &["config.json: cannot be read"]);
    std::fs::create_dir(&path).unwrap();
    assert_all(&message(&open(dir.path()).unwrap_err()), &["config.json is not a regular file"]);
}

/// A value that some key may have, or that none should have.
fn any_value() -> impl Strategy<Value = Value> {
    let texts =
        ["", "x", "silu", "cls_patch", "mlp99999999x_gelu", "../../..", "anyres", "\u{1b}[2J"];
    prop_oneof![
        prop::sample::select(texts.map(Value::from).to_vec()),
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0i64..70).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::collection::vec(0i64..40, 0..5).prop_map(Value::from),
        Just(json!({ "rope_type": "linear" })),
        Just(Value::from("A".repeat(100_000))),
        Just(Value::from(vec![1; 10_000])),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn changed_configurations_never_panic_and_messages_can_be_shown(
        changes in prop::collection::vec(
            (0usize..3, any::<prop::sample::Index>(), prop::option::weighted(0.9, any_value())),
            1..6,
        ),
    ) {
        let mut spec = Form::default().spec();
        for (file, key, value) in changes {
            let file: &mut Map<String, Value> =
                [&mut spec.config, &mut spec.clip, &mut spec.preprocessor].into_iter().nth(file).unwrap();
            let keys: Vec<String> = file.keys().cloned().collect();
            if keys.is_empty() {
                continue;
            }
            let key = key.get(&keys).clone();
            match value {
                Some(value) => file.insert(key, value),
                None => file.remove(&key),
            };
        }
        if let Err(error) = spec.open() {
            let text = message(&error);
            prop_assert!(text.len() < 10_000, "{} bytes", text.len());
            prop_assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        }
    }
}
