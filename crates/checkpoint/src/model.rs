//! The typed CuMo model: every tensor that inference needs, once, with its shape checked.
//!
//! Names follow the checkpoint's; shapes are those of PyTorch (`Linear.weight` is `[out, in]`).

use crate::tensor::Tensor;

/// A CuMo checkpoint's weights.
#[derive(Debug, Clone)]
pub struct Model {
    /// CLIP vision tower.
    pub vision: Vision,
    /// Connector from image features to the LLM's embeddings.
    pub connector: Connector,
    /// Decoder LLM.
    pub llm: Llm,
}

/// The CLIP vision tower, without its last layer and post-layernorm, which CuMo never uses.
#[derive(Debug, Clone)]
pub struct Vision {
    /// `[hidden]`.
    pub class_embedding: Tensor,
    /// `[hidden, 3, patch, patch]`, no bias.
    pub patch_embedding: Tensor,
    /// `[1 + grid * grid, hidden]`.
    pub position_embedding: Tensor,
    /// `pre_layrnorm` (the original's spelling).
    pub pre_layernorm: LayerNorm,
    /// The layers that run: all but the last.
    pub layers: Vec<VisionLayer>,
}

/// One CLIP encoder layer.
#[derive(Debug, Clone)]
pub struct VisionLayer {
    /// Before attention.
    pub layer_norm1: LayerNorm,
    /// Attention with biases.
    pub self_attn: Attention,
    /// Before the feed-forward part.
    pub layer_norm2: LayerNorm,
    /// MLP or mixture of experts, quick_gelu, not gated.
    pub feed_forward: FeedForward,
}

/// Weight and bias of a layer norm, `[hidden]` each.
#[derive(Debug, Clone)]
pub struct LayerNorm {
    /// Scale.
    pub weight: Tensor,
    /// Shift.
    pub bias: Tensor,
}

/// The four projections of an attention layer.
#[derive(Debug, Clone)]
pub struct Attention {
    /// Queries, `[heads * head_dim, hidden]`.
    pub q_proj: Linear,
    /// Keys, `[kv_heads * head_dim, hidden]`.
    pub k_proj: Linear,
    /// Values, `[kv_heads * head_dim, hidden]`.
    pub v_proj: Linear,
    /// Output, `[hidden, heads * head_dim]`.
    pub out_proj: Linear,
}

/// A fully connected layer.
#[derive(Debug, Clone)]
pub struct Linear {
    /// `[out, in]`.
    pub weight: Tensor,
    /// `[out]`.
    pub bias: Option<Tensor>,
}

/// What follows attention in a layer.
#[derive(Debug, Clone)]
pub enum FeedForward {
    /// One MLP for every token.
    Dense(Mlp),
    /// A router and its experts.
    Moe(Moe),
}

/// `y = fc2(act(fc1 x))`, or gated `y = fc2(act(fc1 x) * up x)`.
///
/// Mistral: fc1 = `gate_proj`, up = `up_proj`, fc2 = `down_proj`. Mixtral: `w1`, `w3`, `w2`.
/// CLIP: `fc1`, `fc2`. Connector: `0`, `2`.
#[derive(Debug, Clone)]
pub struct Mlp {
    /// `[intermediate, in]`.
    pub fc1: Linear,
    /// `[intermediate, in]`; none when not gated.
    pub up: Option<Linear>,
    /// `[out, intermediate]`.
    pub fc2: Linear,
}

/// A sparse mixture of experts.
#[derive(Debug, Clone)]
pub struct Moe {
    /// The router's matrix, `[experts, in]`, no bias.
    pub gate: Tensor,
    /// Experts in the checkpoint's order.
    pub experts: Vec<Mlp>,
    /// Experts that each token is sent to.
    pub num_experts_per_tok: usize,
}

/// The connector.
#[derive(Debug, Clone)]
pub enum Connector {
    /// `linear` (one layer) and `mlpNx_gelu` (N layers with exact gelu between them).
    Dense(Vec<Linear>),
    /// `smoe_mlp`: a router and two-layer experts with exact gelu.
    Moe(Moe),
}

/// The decoder LLM: Mistral, Mixtral or Llama.
#[derive(Debug, Clone)]
pub struct Llm {
    /// `[vocab, hidden]`.
    pub embed_tokens: Tensor,
    /// Decoder layers.
    pub layers: Vec<DecoderLayer>,
    /// Weight of the final RMS norm, `[hidden]`.
    pub norm: Tensor,
    /// `[vocab, hidden]`; the embedding itself where `tie_word_embeddings` is true.
    pub lm_head: Tensor,
}

/// One decoder layer.
#[derive(Debug, Clone)]
pub struct DecoderLayer {
    /// Weight of the RMS norm before attention, `[hidden]`.
    pub input_layernorm: Tensor,
    /// Attention without biases.
    pub self_attn: Attention,
    /// Weight of the RMS norm before the feed-forward part, `[hidden]`.
    pub post_attention_layernorm: Tensor,
    /// Gated SiLU MLP or mixture of experts.
    pub feed_forward: FeedForward,
}

impl Vision {
    /// All tensors, in the order in which they are used.
    pub fn tensors(&self) -> Vec<&Tensor> {
        let Self { class_embedding, patch_embedding, position_embedding, pre_layernorm, layers } =
            self;
        let mut tensors = vec![patch_embedding, class_embedding, position_embedding];
        tensors.extend(pre_layernorm.tensors());
        for VisionLayer { layer_norm1, self_attn, layer_norm2, feed_forward } in layers {
            tensors.extend(layer_norm1.tensors());
            tensors.extend(self_attn.tensors());
            tensors.extend(layer_norm2.tensors());
            tensors.extend(feed_forward.tensors());
        }
        tensors
    }
}

impl LayerNorm {
    fn tensors(&self) -> [&Tensor; 2] {
        [&self.weight, &self.bias]
    }
}

impl Attention {
    fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        [&self.q_proj, &self.k_proj, &self.v_proj, &self.out_proj]
            .into_iter()
            .flat_map(Linear::tensors)
    }
}

impl Linear {
    fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        std::iter::once(&self.weight).chain(&self.bias)
    }
}

impl FeedForward {
    fn tensors(&self) -> Vec<&Tensor> {
        match self {
            FeedForward::Dense(mlp) => mlp.tensors().collect(),
            FeedForward::Moe(moe) => moe.tensors(),
        }
    }
}

impl Mlp {
    fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        std::iter::once(&self.fc1).chain(&self.up).chain([&self.fc2]).flat_map(Linear::tensors)
    }
}

impl Moe {
    fn tensors(&self) -> Vec<&Tensor> {
        std::iter::once(&self.gate).chain(self.experts.iter().flat_map(Mlp::tensors)).collect()
    }
}

impl Connector {
    /// All tensors, in the order in which they are used.
    pub fn tensors(&self) -> Vec<&Tensor> {
        match self {
            Connector::Dense(layers) => layers.iter().flat_map(Linear::tensors).collect(),
            Connector::Moe(moe) => moe.tensors(),
        }
    }
}

impl Llm {
    /// All tensors, in the order in which they are used; a tied `lm_head` is not named again.
    pub fn tensors(&self) -> Vec<&Tensor> {
        let Self { embed_tokens, layers, norm, lm_head } = self;
        let mut tensors = vec![embed_tokens];
        for layer in layers {
            let DecoderLayer { input_layernorm, self_attn, post_attention_layernorm, feed_forward } =
                layer;
            tensors.push(input_layernorm);
            tensors.extend(self_attn.tensors());
            tensors.push(post_attention_layernorm);
            tensors.extend(feed_forward.tensors());
        }
        tensors.push(norm);
        if lm_head.name() != embed_tokens.name() {
            tensors.push(lm_head);
        }
        tensors
    }
}
