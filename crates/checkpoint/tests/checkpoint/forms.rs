//! Checkpoints of every form that the model's arithmetic allows.

use crate::fixture::*;
use cumo_checkpoint::*;

/// Opens, and finds in the typed model exactly the tensors that were written, but for the tower's
/// last layer.
fn check(form: Form) -> Checkpoint {
    let spec = form.spec();
    let dir = spec.write();
    let checkpoint = open(dir.path()).unwrap_or_else(|error| panic!("{}", message(&error)));
    let last = format!("model.vision_tower.vision_model.encoder.layers.{}.", form.clip_layers - 1);
    let (unused, wanted): (Tensors, Tensors) =
        spec.tensors.into_iter().partition(|(name, _)| name.starts_with(&last));
    assert_eq!(used(&checkpoint), wanted);
    assert!(checkpoint.unused.iter().map(UnusedTensor::name).eq(unused.keys()));
    checkpoint
}

#[test]
fn experts_in_tower_and_connector() {
    let checkpoint = check(Form::default());
    let moe = MoeConfig { num_experts: 3, num_experts_per_tok: 2 };
    assert_eq!(checkpoint.config.vision.moe, Some(moe));
    assert_eq!(checkpoint.config.connector.kind, ConnectorKind::Moe(moe));
}

#[test]
fn dense_tower_with_moe_connector() {
    let checkpoint = check(Form { clip_smoe: false, moe: (5, 1), ..Form::default() });
    assert_eq!(checkpoint.config.vision.moe, None);
    let moe = MoeConfig { num_experts: 5, num_experts_per_tok: 1 };
    assert_eq!(checkpoint.config.connector.kind, ConnectorKind::Moe(moe));
}

#[test]
fn moe_tower_with_dense_connector() {
    check(Form { projector: "mlp3x_gelu", moe: (4, 3), ..Form::default() });
    check(Form { projector: "linear", scales: vec![1], ..Form::default() });
}

#[test]
fn linear_connector_over_scales_names_all_its_input_channels() {
    let form = Form { projector: "linear", scales: vec![1, 2], ..Form::default() };
    let channels = 2 * form.clip_hidden;
    let spec = form.spec().set("mm_hidden_size", channels);
    assert_eq!(spec.open().unwrap().config.connector.input_size, channels);
}

#[test]
fn one_expert() {
    check(Form { moe: (1, 1), ..Form::default() });
}

#[test]
fn odd_heads_three_scales_large_patches() {
    let checkpoint = check(Form {
        hidden: 12,
        heads: 3,
        kv_heads: 3,
        clip_hidden: 5,
        clip_heads: 5,
        image: 84,
        patch: 28,
        scales: vec![1, 2, 4],
        ..Form::default()
    });
    assert_eq!(checkpoint.config.vision.grid(), 3);
    assert_eq!(checkpoint.config.connector.input_size, 15);
}

#[test]
fn patches_that_do_not_fill_the_image_leave_its_edge() {
    let checkpoint = check(Form { image: 30, ..Form::default() });
    assert_eq!(checkpoint.config.vision.grid(), 2);
}

#[test]
fn tower_whose_one_layer_never_runs() {
    let checkpoint = check(Form { clip_layers: 1, ..Form::default() });
    assert!(checkpoint.model.vision.layers.is_empty());
}

#[test]
fn mixtral_with_any_number_of_experts() {
    for llm_moe in [(3, 3), (4, 1), (2, 2)] {
        let form = Form { model_type: "llava_mixtral", llm_moe: Some(llm_moe), ..Form::default() };
        let checkpoint = check(form);
        let (num_experts, num_experts_per_tok) = llm_moe;
        let moe = Some(MoeConfig { num_experts, num_experts_per_tok });
        assert_eq!(checkpoint.config.llm.moe, moe);
    }
}

#[test]
fn class_token_with_one_scale() {
    let checkpoint =
        check(Form { scales: vec![1], select_feature: "cls_patch", ..Form::default() });
    assert_eq!(checkpoint.config.vision.select_feature, SelectFeature::ClsPatch);
    assert_eq!(checkpoint.config.vision.image_tokens(), 5);
}

#[test]
fn types_may_be_mixed() {
    let mut spec = Form::default().spec();
    let raw = spec.tensors.get_mut("model.norm.weight").unwrap();
    *raw = Raw { dtype: "F32", shape: vec![8], bytes: vec![7; 32] };
    let checkpoint = spec.open().unwrap();
    assert_eq!(checkpoint.model.llm.norm.dtype(), Dtype::F32);
    assert_eq!(checkpoint.model.llm.norm.num_elements(), 8);
    assert_eq!(checkpoint.model.llm.embed_tokens.dtype(), Dtype::F16);
}

#[test]
fn tied_embeddings_are_the_output_matrix() {
    let mut spec = Form::default().spec().set("tie_word_embeddings", true);
    let checkpoint = spec.open().unwrap();
    assert_eq!(checkpoint.model.llm.lm_head.name(), "model.embed_tokens.weight");
    assert!(checkpoint.unused.iter().any(|tensor| tensor.name() == "lm_head.weight"));
    spec.tensors.remove("lm_head.weight");
    let checkpoint = spec.open().unwrap();
    assert_eq!(checkpoint.tensors().filter(|t| t.name() == "model.embed_tokens.weight").count(), 1);
}

#[test]
fn head_dim_may_differ_from_hidden_size() {
    let mut spec = Form::default().spec().set("head_dim", 6);
    for layer in 0..2 {
        let attention = format!("model.layers.{layer}.self_attn");
        for (proj, shape) in
            [("q_proj", [12, 8]), ("k_proj", [6, 8]), ("v_proj", [6, 8]), ("o_proj", [8, 12])]
        {
            spec.tensors.insert(format!("{attention}.{proj}.weight"), Raw::f16(&shape, 0));
        }
    }
    assert_eq!(spec.open().unwrap().config.llm.head_dim, 6);
}

#[test]
fn buffers_and_other_models_tokens_are_unused() {
    let mut spec = Form::default().spec();
    let tower = "model.vision_tower.vision_model";
    let unused = [
        ("model.image_newline".to_owned(), Raw::f16(&[8], 0)),
        ("model.layers.0.self_attn.rotary_emb.inv_freq".to_owned(), Raw::f16(&[2], 0)),
        (
            format!("{tower}.embeddings.position_ids"),
            Raw { dtype: "I64", shape: vec![1, 5], bytes: vec![0; 40] },
        ),
        (format!("{tower}.post_layernorm.bias"), Raw::f16(&[6], 0)),
        (format!("{tower}.post_layernorm.weight"), Raw::f16(&[6], 0)),
    ];
    spec.tensors.extend(unused.clone());
    let checkpoint = spec.open().unwrap();
    for (name, raw) in unused {
        let found = checkpoint.unused.iter().find(|tensor| tensor.name() == name).unwrap();
        assert_eq!(found.dtype().to_uppercase(), raw.dtype);
        assert_eq!(found.num_bytes(), raw.bytes.len());
    }
}

#[test]
fn llava_1_5_takes_its_tower_from_clip() {
    let form = Form {
        model_type: "llava_llama",
        kv_heads: 2,
        scales: vec![1],
        projector: "mlp2x_gelu",
        clip_smoe: false,
        ..Form::default()
    };
    let mut spec = form.spec();
    for key in ["scales", "clip_smoe", "mlp_smoe", "num_experts", "num_selected", "sliding_window"]
    {
        spec = spec.unset(key);
    }
    spec = spec.set("mm_vision_tower", "/nowhere/clip").unset("num_key_value_heads");
    let whole = spec.tensors.clone();
    let (tower, rest): (Tensors, Tensors) =
        whole.into_iter().partition(|(name, _)| name.contains("vision_tower"));
    spec.tensors = rest;
    let dir = spec.write();
    std::fs::remove_dir_all(dir.path().join("clip")).unwrap();

    let text = message(&open(dir.path()).unwrap_err());
    assert_all(&text, &["/nowhere/clip", "--clip DIR", "openai/clip-vit-large-patch14-336"]);

    // A whole CLIP: nested configuration, text tower beside the vision tower.
    let clip = tempfile::tempdir().unwrap();
    spec.write_clip_config(clip.path());
    let mut nested = serde_json::Map::new();
    nested.insert("model_type".into(), "clip".into());
    nested.insert("vision_config".into(), spec.clip.clone().into());
    write_json(&clip.path().join("config.json"), &nested);
    let mut tensors: Tensors = tower
        .into_iter()
        .map(|(name, raw)| (name.replace("model.vision_tower.", ""), raw))
        .collect();
    tensors.insert("text_model.final_layer_norm.weight".into(), Raw::f16(&[6], 0));
    tensors.insert("logit_scale".into(), Raw::f16(&[], 0));
    write_safetensors(&clip.path().join("model.safetensors"), &tensors);

    let checkpoint = open_with(dir.path(), None, Some(clip.path())).unwrap();
    let Config { vision, llm, .. } = &checkpoint.config;
    assert_eq!((vision.scales.as_slice(), vision.moe), (&[1][..], None));
    assert_eq!((llm.family, llm.rope_theta, llm.num_key_value_heads), (Family::Llama, 1e4, 2));
    assert_eq!(llm.sliding_window, None);
    assert!(checkpoint.unused.iter().any(|tensor| tensor.name() == "logit_scale"));
    let name = checkpoint.model.vision.class_embedding.name();
    assert_eq!(name, "model.vision_tower.vision_model.embeddings.class_embedding");
}

#[test]
fn llava_s_own_tower_names() {
    let form = Form { clip_smoe: false, projector: "mlp2x_gelu", ..Form::default() };
    let mut spec = form.spec();
    let whole = used(&spec.open().unwrap());
    spec.tensors = std::mem::take(&mut spec.tensors)
        .into_iter()
        .map(|(name, raw)| {
            (name.replace("model.vision_tower.", "model.vision_tower.vision_tower."), raw)
        })
        .collect();
    assert_eq!(used(&spec.open().unwrap()), whole);
}

#[test]
fn hub_names_have_their_published_configuration() {
    for (name, hidden, patch, image) in [
        ("openai/clip-vit-base-patch32", 768, 32, 224),
        ("openai/clip-vit-base-patch16", 768, 16, 224),
        ("openai/clip-vit-large-patch14", 1024, 14, 224),
        ("openai/clip-vit-large-patch14-336", 1024, 14, 336),
    ] {
        let spec = Form::default().spec().set("mm_vision_tower", name).unset("mm_hidden_size");
        let dir = spec.write_config();
        let Config { vision, image: preprocess, .. } = Config::read(dir.path(), None).unwrap();
        assert_eq!(
            (vision.hidden_size, vision.patch_size, vision.image_size),
            (hidden, patch, image)
        );
        assert_eq!(vision.intermediate_size, 4 * hidden);
        assert_eq!(preprocess.size, image);
        assert_eq!(preprocess.mean, [0.48145466_f64, 0.4578275, 0.40821073].map(|x| x as f32));
        assert_eq!(preprocess.std, [0.26862954_f64, 0.26130258, 0.27577711].map(|x| x as f32));
    }
}

#[test]
fn defaults_of_absent_keys_are_the_families() {
    let keys = [
        "num_key_value_heads",
        "sliding_window",
        "max_position_embeddings",
        "rms_norm_eps",
        "num_local_experts",
        "num_experts_per_tok",
    ];
    let read = |model_type| {
        let mut spec = Form { heads: 8, hidden: 16, model_type, ..Form::default() }.spec();
        for key in keys {
            spec = spec.unset(key);
        }
        let dir = spec.write_config();
        Config::read(dir.path(), None).unwrap().llm
    };
    let mistral = read("llava_mistral");
    assert_eq!((mistral.num_key_value_heads, mistral.sliding_window), (8, Some(4096)));
    assert_eq!((mistral.rms_norm_eps, mistral.rope_theta), (1e-6, 1e4));
    let mixtral = read("llava_mixtral");
    assert_eq!(
        (mixtral.rms_norm_eps, mixtral.rope_theta, mixtral.sliding_window),
        (1e-5, 1e6, None)
    );
    assert_eq!(mixtral.moe, Some(MoeConfig { num_experts: 8, num_experts_per_tok: 2 }));
    let llama = read("llava_llama");
    assert_eq!((llama.num_key_value_heads, llama.max_position_embeddings), (8, 2048));
    assert_eq!((llama.bos_token_id, llama.eos_token_ids), (1, vec![2]));
}

#[test]
fn ends_of_answers_come_from_the_generation_s_configuration_first() {
    let spec = Form::default().spec().set("eos_token_id", 5);
    let dir = spec.write();
    assert_eq!(open(dir.path()).unwrap().config.llm.eos_token_ids, [5]);
    std::fs::write(dir.path().join("generation_config.json"), r#"{"eos_token_id": [3, 7]}"#)
        .unwrap();
    assert_eq!(open(dir.path()).unwrap().config.llm.eos_token_ids, [3, 7]);
    std::fs::write(dir.path().join("generation_config.json"), r#"{"eos_token_id": 99}"#).unwrap();
    let text = message(&open(dir.path()).unwrap_err());
    assert_all(&text, &["generation_config.json: `eos_token_id` is 99, it should be from 0 to 15"]);
}

#[test]
fn sentencepiece_goes_before_json() {
    let spec = Form::default().spec();
    let dir = spec.write();
    let llm = tempfile::tempdir().unwrap();
    assert_eq!(open(dir.path()).unwrap().tokenizer, None);
    std::fs::write(llm.path().join("tokenizer.model"), "").unwrap();
    let tokenizer = open_with(dir.path(), Some(llm.path()), None).unwrap().tokenizer.unwrap();
    assert_eq!(tokenizer.path, llm.path().join("tokenizer.model"));
    std::fs::write(dir.path().join("tokenizer.json"), "").unwrap();
    let tokenizer = open_with(dir.path(), Some(llm.path()), None).unwrap().tokenizer.unwrap();
    assert_eq!(tokenizer.kind, TokenizerKind::Json);
    std::fs::write(dir.path().join("tokenizer.model"), "").unwrap();
    let tokenizer = open(dir.path()).unwrap().tokenizer.unwrap();
    assert_eq!(tokenizer.kind, TokenizerKind::SentencePiece);
}
