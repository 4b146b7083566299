//! Builds the typed model: takes every tensor that the configuration asks for, with its shape.

use std::collections::HashMap;

use crate::config::{Config, ConnectorKind, Family, LlmConfig, MoeConfig, VisionConfig};
use crate::error::{Error, TensorProblem, TensorProblems};
use crate::model::{
    Attention, Connector, DecoderLayer, FeedForward, LayerNorm, Linear, Llm, Mlp, Model, Moe,
    Vision, VisionLayer,
};
use crate::parts::Parts;
use crate::tensor::{Stored, Tensor, UnusedTensor};

const VISION: &str = "model.vision_tower.vision_model";
const CONNECTOR: &str = "model.mm_projector";

/// The model that `config` describes, of the tensors in `parts`, and those that are left over.
///
/// # Errors
///
/// Everything that is missing, misshapen, of a wrong type, extra or there twice, in one error.
pub(crate) fn build(config: &Config, parts: Parts) -> Result<(Model, Vec<UnusedTensor>), Error> {
    let Parts { tensors, mut unused, problems } = parts;
    let mut taker = Taker { tensors: Some(tensors), problems };
    let model = taker.model(config);
    let Taker { tensors, mut problems } = taker;
    let mut left: Vec<_> = tensors.unwrap_or_default().into_iter().collect();
    left.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (name, stored) in left {
        if is_known_unused(&name, config) {
            unused.push(stored);
        } else {
            let Stored { name, shape, file, .. } = stored;
            problems.push(TensorProblem::Extra { file: file.path().to_owned(), name, shape });
        }
    }
    if !problems.is_empty() {
        return Err(Error::Tensors(TensorProblems(problems)));
    }
    unused.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((model, unused.into_iter().map(UnusedTensor::new).collect()))
}

/// The model that `config` describes, of tensors that have shapes and no bytes.
pub(crate) fn imagine(config: &Config) -> Model {
    let mut taker = Taker { tensors: None, problems: Vec::new() };
    taker.model(config)
}

/// Whether the tensor, by its name in a whole checkpoint, is one that inference never needs: what
/// comes after the state that the tower gives, buffers that are computed, and the output matrix
/// where the embedding stands for it.
fn is_known_unused(name: &str, config: &Config) -> bool {
    let last = format!("{VISION}.encoder.layers.{}.", config.vision.num_hidden_layers - 1);
    name.starts_with(&last)
        || name.strip_prefix(VISION).is_some_and(|name| {
            name.starts_with(".post_layernorm.") || name == ".embeddings.position_ids"
        })
        || name.ends_with("rotary_emb.inv_freq")
        || (config.llm.tie_word_embeddings && name == "lm_head.weight")
}

struct Taker {
    /// What there is to take of; none where tensors are imagined.
    tensors: Option<HashMap<String, Stored>>,
    problems: Vec<TensorProblem>,
}

impl Taker {
    fn model(&mut self, config: &Config) -> Model {
        Model {
            vision: self.vision(&config.vision),
            connector: self.connector(config),
            llm: self.llm(&config.llm),
        }
    }

    /// The tensor `name` of shape `want`. One that does not fit is noted as a problem and stood
    /// in for, so that all that does not fit is found; the stand-ins never leave [`build`].
    fn take(&mut self, name: String, want: &[usize]) -> Tensor {
        let Some(tensors) = &mut self.tensors else {
            return Tensor::imagined(name, want);
        };
        let want = want.to_vec();
        let Some(stored) = tensors.remove(&name) else {
            self.problems.push(TensorProblem::Missing { name, want });
            return Tensor::missing();
        };
        let file = || stored.file.path().to_owned();
        if stored.shape != want {
            let (file, got) = (file(), stored.shape);
            self.problems.push(TensorProblem::Shape { file, name: stored.name, got, want });
            return Tensor::missing();
        }
        let Some(dtype) = stored.element.dtype() else {
            let (file, got) = (file(), stored.element.name);
            self.problems.push(TensorProblem::Dtype { file, name: stored.name, got });
            return Tensor::missing();
        };
        Tensor::new(name, dtype, stored)
    }

    fn linear(&mut self, name: &str, out: usize, input: usize, bias: bool) -> Linear {
        let weight = self.take(format!("{name}.weight"), &[out, input]);
        let bias = bias.then(|| self.take(format!("{name}.bias"), &[out]));
        Linear { weight, bias }
    }

    fn layer_norm(&mut self, name: &str, size: usize) -> LayerNorm {
        LayerNorm {
            weight: self.take(format!("{name}.weight"), &[size]),
            bias: self.take(format!("{name}.bias"), &[size]),
        }
    }

    /// A router `<name>.gate` and experts `<name>.experts.E`, which `expert` takes.
    fn moe(
        &mut self,
        name: &str,
        config: MoeConfig,
        input: usize,
        mut expert: impl FnMut(&mut Self, &str) -> Mlp,
    ) -> Moe {
        let MoeConfig { num_experts, num_experts_per_tok } = config;
        Moe {
            gate: self.take(format!("{name}.gate.weight"), &[num_experts, input]),
            experts: (0..num_experts)
                .map(|e| expert(self, &format!("{name}.experts.{e}")))
                .collect(),
            num_experts_per_tok,
        }
    }

    /// Two layers with biases: `names` of them, and the sizes input, inner and output.
    fn plain_mlp(&mut self, name: &str, names: [&str; 2], sizes: [usize; 3]) -> Mlp {
        let [fc1, fc2] = names;
        let [input, inner, output] = sizes;
        Mlp {
            fc1: self.linear(&format!("{name}.{fc1}"), inner, input, true),
            up: None,
            fc2: self.linear(&format!("{name}.{fc2}"), output, inner, true),
        }
    }

    fn vision(&mut self, config: &VisionConfig) -> Vision {
        let (hidden, patch) = (config.hidden_size, config.patch_size);
        let embeddings = format!("{VISION}.embeddings");
        Vision {
            class_embedding: self.take(format!("{embeddings}.class_embedding"), &[hidden]),
            patch_embedding: self
                .take(format!("{embeddings}.patch_embedding.weight"), &[hidden, 3, patch, patch]),
            position_embedding: self.take(
                format!("{embeddings}.position_embedding.weight"),
                &[config.num_positions(), hidden],
            ),
            pre_layernorm: self.layer_norm(&format!("{VISION}.pre_layrnorm"), hidden),
            layers: (0..config.num_hidden_layers - 1)
                .map(|layer| self.vision_layer(config, layer))
                .collect(),
        }
    }

    fn vision_layer(&mut self, config: &VisionConfig, layer: usize) -> VisionLayer {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let name = format!("{VISION}.encoder.layers.{layer}");
        let mut proj =
            |proj| self.linear(&format!("{name}.self_attn.{proj}"), hidden, hidden, true);
        let self_attn = Attention {
            q_proj: proj("q_proj"),
            k_proj: proj("k_proj"),
            v_proj: proj("v_proj"),
            out_proj: proj("out_proj"),
        };
        let mlp = |taker: &mut Self, name: &str| {
            taker.plain_mlp(name, ["fc1", "fc2"], [hidden, inner, hidden])
        };
        VisionLayer {
            layer_norm1: self.layer_norm(&format!("{name}.layer_norm1"), hidden),
            self_attn,
            layer_norm2: self.layer_norm(&format!("{name}.layer_norm2"), hidden),
            feed_forward: match config.moe {
                Some(moe) => FeedForward::Moe(self.moe(&name, moe, hidden, mlp)),
                None => FeedForward::Dense(mlp(self, &format!("{name}.mlp"))),
            },
        }
    }

    fn connector(&mut self, config: &Config) -> Connector {
        let (input, hidden) = (config.connector.input_size, config.connector.hidden_size);
        match config.connector.kind {
            ConnectorKind::Linear => {
                Connector::Dense(vec![self.linear(CONNECTOR, hidden, input, true)])
            }
            // The odd places of the original's sequence are activations.
            ConnectorKind::Mlp { depth } => Connector::Dense(
                (0..depth)
                    .map(|i| {
                        let input = if i == 0 { input } else { hidden };
                        self.linear(&format!("{CONNECTOR}.{}", 2 * i), hidden, input, true)
                    })
                    .collect(),
            ),
            ConnectorKind::Moe(moe) => {
                Connector::Moe(self.moe(CONNECTOR, moe, input, |taker, name| {
                    taker.plain_mlp(name, ["0", "2"], [input, hidden, hidden])
                }))
            }
        }
    }

    fn llm(&mut self, config: &LlmConfig) -> Llm {
        let (vocab, hidden) = (config.vocab_size, config.hidden_size);
        let embed_tokens = self.take("model.embed_tokens.weight".to_owned(), &[vocab, hidden]);
        Llm {
            layers: (0..config.num_hidden_layers)
                .map(|layer| self.decoder_layer(config, layer))
                .collect(),
            norm: self.take("model.norm.weight".to_owned(), &[hidden]),
            lm_head: if config.tie_word_embeddings {
                embed_tokens.clone()
            } else {
                self.take("lm_head.weight".to_owned(), &[vocab, hidden])
            },
            embed_tokens,
        }
    }

    fn decoder_layer(&mut self, config: &LlmConfig, layer: usize) -> DecoderLayer {
        let hidden = config.hidden_size;
        let q = config.num_attention_heads * config.head_dim;
        let kv = config.num_key_value_heads * config.head_dim;
        let name = format!("model.layers.{layer}");
        let mut proj =
            |proj, out, input| self.linear(&format!("{name}.self_attn.{proj}"), out, input, false);
        let self_attn = Attention {
            q_proj: proj("q_proj", q, hidden),
            k_proj: proj("k_proj", kv, hidden),
            v_proj: proj("v_proj", kv, hidden),
            out_proj: proj("o_proj", hidden, q),
        };
        DecoderLayer {
            input_layernorm: self.take(format!("{name}.input_layernorm.weight"), &[hidden]),
            self_attn,
            post_attention_layernorm: self
                .take(format!("{name}.post_attention_layernorm.weight"), &[hidden]),
            feed_forward: self.decoder_feed_forward(config, &name),
        }
    }

    fn decoder_feed_forward(&mut self, config: &LlmConfig, layer: &str) -> FeedForward {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let names = match config.family {
            Family::Mixtral => ["w1", "w3", "w2"],
            Family::Mistral | Family::Llama => ["gate_proj", "up_proj", "down_proj"],
        };
        let [fc1, up, fc2] = names;
        let mlp = |taker: &mut Self, name: &str| Mlp {
            fc1: taker.linear(&format!("{name}.{fc1}"), inner, hidden, false),
            up: Some(taker.linear(&format!("{name}.{up}"), inner, hidden, false)),
            fc2: taker.linear(&format!("{name}.{fc2}"), hidden, inner, false),
        };
        match config.moe {
            Some(moe) => {
                FeedForward::Moe(self.moe(&format!("{layer}.block_sparse_moe"), moe, hidden, mlp))
            }
            None => FeedForward::Dense(mlp(self, &format!("{layer}.mlp"))),
        }
    }
}
