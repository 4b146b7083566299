//! The decoder LLM's configuration.

use std::fmt;
use std::path::Path;

use serde_json::{Map, Value};

use super::keys::Keys;
use super::{MAX_CONFIG, MoeConfig, check_experts, moe};
use crate::error::{ConfigProblemKind, Error};
use crate::json;

/// Which decoder it is. All three compute the same but for what `LlmConfig` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// `llava_mistral`.
    Mistral,
    /// `llava_mixtral`: Mixtral, or Mistral with co-upcycled experts.
    Mixtral,
    /// `llava_llama`: Llama and Vicuna, as in LLaVA-1.5.
    Llama,
}

impl Family {
    /// The name in lower case: `mistral`.
    pub fn name(self) -> &'static str {
        match self {
            Family::Mistral => "mistral",
            Family::Mixtral => "mixtral",
            Family::Llama => "llama",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The decoder LLM.
#[derive(Debug, Clone, PartialEq)]
pub struct LlmConfig {
    /// Which decoder.
    pub family: Family,
    /// Token ids, 0 to `vocab_size - 1`.
    pub vocab_size: usize,
    /// Channels of the residual stream.
    pub hidden_size: usize,
    /// Channels within an MLP or expert.
    pub intermediate_size: usize,
    /// Decoder layers.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; divides `num_attention_heads`.
    pub num_key_value_heads: usize,
    /// Channels of a head; even.
    pub head_dim: usize,
    /// Added to the mean square in RMS norms.
    pub rms_norm_eps: f32,
    /// Base of the rotary embedding's wavelengths.
    pub rope_theta: f64,
    /// Positions that the model was made for.
    pub max_position_embeddings: usize,
    /// W: a token sees itself and the W - 1 before it; none: all before it.
    pub sliding_window: Option<usize>,
    /// `lm_head` is the embedding.
    pub tie_word_embeddings: bool,
    /// Experts of every layer, for [`Family::Mixtral`].
    pub moe: Option<MoeConfig>,
    /// Id that begins a text.
    pub bos_token_id: u32,
    /// Ids that end an answer; at least one.
    pub eos_token_ids: Vec<u32>,
}

/// What a family's configuration class takes for absent keys.
struct Defaults {
    intermediate_size: usize,
    num_key_value_heads: Option<usize>,
    max_position_embeddings: usize,
    rms_norm_eps: f64,
    rope_theta: f64,
    sliding_window: Option<usize>,
}

impl Family {
    fn defaults(self) -> Defaults {
        match self {
            Family::Mistral => Defaults {
                intermediate_size: 14336,
                num_key_value_heads: Some(8),
                max_position_embeddings: 131_072,
                rms_norm_eps: 1e-6,
                rope_theta: 1e4,
                sliding_window: Some(4096),
            },
            Family::Mixtral => Defaults {
                intermediate_size: 14336,
                num_key_value_heads: Some(8),
                max_position_embeddings: 131_072,
                rms_norm_eps: 1e-5,
                rope_theta: 1e6,
                sliding_window: None,
            },
            Family::Llama => Defaults {
                intermediate_size: 11008,
                num_key_value_heads: None,
                max_position_embeddings: 2048,
                rms_norm_eps: 1e-6,
                rope_theta: 1e4,
                sliding_window: None,
            },
        }
    }

    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        const SUPPORTED: &str = "the LLM must be Mistral (`llava_mistral`), Mixtral \
                                 (`llava_mixtral`) or Llama (`llava_llama`)";
        let Some(model_type) = keys.text("model_type") else {
            if keys.get("model_type").is_none() {
                let want = "`llava_mistral`, `llava_mixtral` or `llava_llama`";
                keys.problem("model_type", ConfigProblemKind::Missing { want });
            }
            return None;
        };
        match model_type {
            "llava_mistral" => Some(Family::Mistral),
            "llava_mixtral" => Some(Family::Mixtral),
            "llava_llama" => Some(Family::Llama),
            // LLaVA-1.5 was first published under this name.
            "llava" if keys.get("text_config").is_none() => Some(Family::Llama),
            "llava" => {
                keys.not_supported(
                    "model_type",
                    "this is Hugging Face's own port of LLaVA, with other names; take the \
                     original checkpoint",
                );
                None
            }
            "mistral" | "mixtral" | "llama" => {
                keys.not_supported(
                    "model_type",
                    "this is a language model alone; name the folder with the connector, and \
                     this one with --llm DIR",
                );
                None
            }
            _ => {
                keys.not_supported("model_type", SUPPORTED);
                None
            }
        }
    }
}

impl LlmConfig {
    pub(super) fn read(keys: &mut Keys<'_>, dir: &Path) -> Result<Option<Self>, Error> {
        let path = dir.join("generation_config.json");
        let generation = if path.exists() { json::read(&path, MAX_CONFIG)? } else { Map::new() };
        Ok(Self::read_keys(keys, &path, &generation))
    }

    fn read_keys(
        keys: &mut Keys<'_>,
        generation_path: &Path,
        generation: &Map<String, Value>,
    ) -> Option<Self> {
        let family = Family::read(keys)?;
        let defaults = family.defaults();
        let vocab_size = keys.count("vocab_size", Some(32_000), 1..=1 << 24);
        let hidden_size = keys.count("hidden_size", Some(4096), 1..=1 << 20);
        let intermediate_size =
            keys.count("intermediate_size", Some(defaults.intermediate_size), 1..=1 << 22);
        let num_hidden_layers = keys.count("num_hidden_layers", Some(32), 1..=1024);
        let heads = Heads::read(keys, hidden_size, &defaults);
        let rms_norm_eps = keys.number("rms_norm_eps", defaults.rms_norm_eps, 0.0..=1.0);
        let rope_theta = rope_theta(keys, &defaults);
        let max_position_embeddings = keys.count(
            "max_position_embeddings",
            Some(defaults.max_position_embeddings),
            1..=1 << 30,
        );
        let sliding_window = sliding_window(keys, family, &defaults);
        let tie_word_embeddings = keys.flag("tie_word_embeddings", false);
        refuse_unsupported(keys);
        let moe = match family {
            Family::Mixtral => {
                Some(moe(keys, "num_local_experts", Some(8), "num_experts_per_tok", Some(2))?)
            }
            Family::Mistral | Family::Llama => None,
        };
        check_experts(keys, "num_local_experts", moe, num_hidden_layers.unwrap_or(0));
        let bos_token_id = keys.count("bos_token_id", Some(1), 0..=last_id(vocab_size));
        let last = last_id(vocab_size);
        let eos_token_ids = if generation.get("eos_token_id").is_some_and(|ids| !ids.is_null()) {
            // Goes before `config.json`, as in the original.
            eos_token_ids(&mut keys.of(generation_path, generation, ""), last)
        } else {
            eos_token_ids(keys, last)
        };
        let Heads { num_attention_heads, num_key_value_heads, head_dim } = heads?;
        Some(Self {
            family,
            vocab_size: vocab_size?,
            hidden_size: hidden_size?,
            intermediate_size: intermediate_size?,
            num_hidden_layers: num_hidden_layers?,
            num_attention_heads,
            num_key_value_heads,
            head_dim,
            rms_norm_eps: rms_norm_eps? as f32,
            rope_theta: rope_theta?,
            max_position_embeddings: max_position_embeddings?,
            sliding_window: sliding_window?,
            tie_word_embeddings: tie_word_embeddings?,
            moe,
            bos_token_id: u32::try_from(bos_token_id?).ok()?,
            eos_token_ids: eos_token_ids?,
        })
    }
}

/// How attention is divided.
struct Heads {
    num_attention_heads: usize,
    num_key_value_heads: usize,
    head_dim: usize,
}

impl Heads {
    fn read(keys: &mut Keys<'_>, hidden_size: Option<usize>, defaults: &Defaults) -> Option<Self> {
        let heads = keys.count("num_attention_heads", Some(32), 1..=1 << 14);
        // A null means as many as query heads, an absent key the family's default.
        let kv_default = match defaults.num_key_value_heads {
            Some(default) if !keys.has("num_key_value_heads") => Some(default),
            _ => heads.or(Some(1)),
        };
        let kv_heads = keys.count("num_key_value_heads", kv_default, 1..=1 << 14);
        let (heads, kv_heads) = (heads?, kv_heads?);
        if heads % kv_heads != 0 {
            let (got, divisor) = (heads, kv_heads);
            let kind = ConfigProblemKind::NotDivisible { got, by: "num_key_value_heads", divisor };
            keys.problem("num_attention_heads", kind);
        }
        let head_dim = if keys.get("head_dim").is_some() {
            keys.count("head_dim", None, 1..=1 << 14)?
        } else {
            let hidden_size = hidden_size?;
            if hidden_size % heads != 0 {
                let (got, divisor) = (hidden_size, heads);
                let by = "num_attention_heads";
                keys.problem("hidden_size", ConfigProblemKind::NotDivisible { got, by, divisor });
                return None;
            }
            hidden_size / heads
        };
        if head_dim % 2 != 0 {
            keys.problem("head_dim", ConfigProblemKind::Odd { got: head_dim });
        }
        Some(Self { num_attention_heads: heads, num_key_value_heads: kv_heads, head_dim })
    }
}

/// Newer versions of transformers write it into `rope_parameters`.
fn rope_theta(keys: &mut Keys<'_>, defaults: &Defaults) -> Option<f64> {
    const RANGE: std::ops::RangeInclusive<f64> = 1.0..=1e15;
    let parameters = keys.get("rope_parameters").and_then(Value::as_object);
    match parameters.and_then(|parameters| parameters.get("rope_theta")) {
        Some(theta) if keys.get("rope_theta").is_none() => {
            keys.number_value("rope_parameters", theta, RANGE)
        }
        _ => keys.number("rope_theta", defaults.rope_theta, RANGE),
    }
}

fn sliding_window(
    keys: &mut Keys<'_>,
    family: Family,
    defaults: &Defaults,
) -> Option<Option<usize>> {
    if family == Family::Llama {
        return Some(None);
    }
    if keys.get("sliding_window").is_some() {
        return keys.count("sliding_window", None, 1..=1 << 30).map(Some);
    }
    // A null means no window, an absent key the family's default.
    Some(if keys.has("sliding_window") { None } else { defaults.sliding_window })
}

fn refuse_unsupported(keys: &mut Keys<'_>) {
    match keys.text("hidden_act") {
        None | Some("silu" | "swish") => {}
        Some(_) => keys.not_supported("hidden_act", "the decoder's MLP is gated by `silu`"),
    }
    for key in ["rope_scaling", "rope_parameters"] {
        let Some(value) = keys.get(key) else { continue };
        let kind = value.get("rope_type").or_else(|| value.get("type"));
        // `rope_parameters` names the plain embedding too.
        if kind.and_then(Value::as_str) != Some("default") {
            keys.not_supported(key, "only the plain rotary embedding is known");
        }
    }
    for key in ["attention_bias", "mlp_bias"] {
        if keys.flag(key, false) == Some(true) {
            keys.not_supported(key, "the decoder's projections have no biases");
        }
    }
}

fn last_id(vocab_size: Option<usize>) -> usize {
    vocab_size.unwrap_or(1 << 24).saturating_sub(1)
}

/// An id or a list of ids.
fn eos_token_ids(keys: &mut Keys<'_>, last: usize) -> Option<Vec<u32>> {
    const KEY: &str = "eos_token_id";
    let list = match keys.get(KEY) {
        None => return Some(vec![2]),
        Some(Value::Array(list)) => list.as_slice(),
        Some(one) => std::slice::from_ref(one),
    };
    if list.is_empty() || list.len() > 1024 {
        let got = format!("a list of {}", list.len());
        keys.problem(KEY, ConfigProblemKind::Type { got, want: "an id or a list of ids" });
        return None;
    }
    list.iter()
        .map(|id| keys.count_value(KEY, id, 0..=last).and_then(|id| u32::try_from(id).ok()))
        .collect()
}
