//! Opens the goldens' checkpoints as typed models.

use std::path::{Path, PathBuf};

use cumo_checkpoint::model::{Connector, FeedForward};
use cumo_checkpoint::*;

pub(crate) fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/goldens").join(name).join("checkpoint")
}

fn open(name: &str) -> Checkpoint {
    Checkpoint::open(&Sources { checkpoint: golden(name), llm: None, clip: None }).unwrap()
}

#[test]
fn mistral_moe() {
    let checkpoint = open("mistral-moe");
    let Config { vision, connector, llm, image, .. } = &checkpoint.config;
    let moe = MoeConfig { num_experts: 4, num_experts_per_tok: 2 };
    assert_eq!(vision.moe, Some(moe));
    assert_eq!((vision.grid(), vision.num_positions(), vision.image_tokens()), (4, 17, 16));
    assert_eq!(vision.scales, [1, 3]);
    assert_eq!(connector.kind, ConnectorKind::Moe(moe));
    assert_eq!((connector.input_size, connector.hidden_size), (64, 64));
    assert_eq!((llm.family, llm.head_dim, llm.moe), (Family::Mistral, 16, None));
    assert_eq!((llm.bos_token_id, llm.eos_token_ids.as_slice()), (1, &[2][..]));
    assert_eq!((image.size, image.aspect_ratio), (56, AspectRatio::Pad));
    assert_eq!(checkpoint.model.vision.layers.len(), 3);
    assert!(matches!(checkpoint.model.connector, Connector::Moe(_)));
    assert!(checkpoint.tensors().all(|tensor| tensor.dtype() == Dtype::Bf16));
    // The tower's last layer: 8 attention tensors, 4 of norms, the gate, 4 experts of 4.
    assert_eq!(checkpoint.unused.len(), 29);
    assert_eq!(checkpoint.name, "mistral-moe");
}

#[test]
fn mistral_dense() {
    let checkpoint = open("mistral-dense");
    let Config { vision, connector, image, .. } = &checkpoint.config;
    assert_eq!(vision.moe, None);
    assert_eq!(connector.kind, ConnectorKind::Mlp { depth: 2 });
    assert_eq!(image.aspect_ratio, AspectRatio::Crop);
    assert!(checkpoint.tensors().all(|tensor| tensor.dtype() == Dtype::F16));
    assert!(checkpoint.tensors().all(|t| t.file().ends_with("pytorch_model.bin")));
}

#[test]
fn mixtral_moe() {
    let checkpoint = open("mixtral-moe");
    let moe = MoeConfig { num_experts: 8, num_experts_per_tok: 2 };
    assert_eq!(checkpoint.config.llm.moe, Some(moe));
    let FeedForward::Moe(moe) = &checkpoint.model.llm.layers[2].feed_forward else { panic!() };
    assert_eq!(moe.experts.len(), 8);
    assert_eq!(
        moe.experts[7].fc2.weight.name(),
        "model.layers.2.block_sparse_moe.experts.7.w2.weight"
    );
    assert_eq!(moe.experts[7].fc2.weight.shape(), [96, 144]);
}
