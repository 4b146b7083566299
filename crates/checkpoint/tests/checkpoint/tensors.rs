//! Tensors that do not fit the configuration: all of them are named.

use crate::fixture::*;

#[test]
fn missing_misshapen_extra_and_wrong_types_are_named_together() {
    let mut spec = Form::default().spec();
    spec.tensors.remove("model.norm.weight");
    spec.tensors.remove("model.mm_projector.experts.1.0.bias");
    spec.tensors.insert("lm_head.weight".into(), Raw::f16(&[17, 8], 0));
    spec.tensors.insert("model.layers.2.mlp.up_proj.weight".into(), Raw::f16(&[10, 8], 0));
    spec.tensors.insert("something.else".into(), Raw::f16(&[1], 0));
    let wide = Raw { dtype: "F64", shape: vec![16, 8], bytes: vec![0; 16 * 8 * 8] };
    spec.tensors.insert("model.embed_tokens.weight".into(), wide);
    assert_all(
        &spec.refusal(),
        &[
            "2 missing, 1 misshapen, 1 of a wrong type, 2 extra",
            "missing: `model.norm.weight` [8]",
            "missing: `model.mm_projector.experts.1.0.bias` [8]",
            "misshapen: `lm_head.weight` is [17, 8], the configuration needs [16, 8]",
            "wrong type: `model.embed_tokens.weight` is f64, weights are f32, f16 or bf16",
            "extra: `model.layers.2.mlp.up_proj.weight` [10, 8]",
            "extra: `something.else` [1]",
        ],
    );
}

#[test]
fn long_lists_are_shortened() {
    let spec = Form::default().spec().set("num_hidden_layers", 1000);
    let text = spec.refusal();
    assert_all(&text, &["8,982 missing", "... and 8,962 more"]);
    assert!(text.len() < 4000, "{}", text.len());
}

#[test]
fn dense_configuration_of_a_moe_checkpoint() {
    let spec = Form::default().spec().set("clip_smoe", false);
    let text = spec.refusal();
    assert_all(
        &text,
        &[
            "missing: `model.vision_tower.vision_model.encoder.layers.0.mlp.fc1.weight`",
            "layers.0.experts.0.fc1.bias` [7] is no tensor",
        ],
    );
}

#[test]
fn more_layers_than_configured_are_extra() {
    let mut spec = Form { clip_layers: 3, ..Form::default() }.spec();
    spec.clip.insert("num_hidden_layers".into(), 2.into());
    assert_all(&spec.refusal(), &["extra: `model.vision_tower.vision_model.encoder.layers.2."]);
}

#[test]
fn one_tensor_under_two_names_is_there_twice() {
    let mut spec = Form::default().spec();
    let name = "model.vision_tower.vision_tower.vision_model.embeddings.class_embedding";
    spec.tensors.insert(name.into(), Raw::f16(&[6], 0));
    assert_all(&spec.refusal(), &["1 twice", "are the same tensor of the model"]);
}
