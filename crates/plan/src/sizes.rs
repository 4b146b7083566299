//! A model's sizes, checked, in numbers that products of them do not overflow.

use cumo_bundle::{LayerSizes, ModelFacts, MoeFacts};

use crate::error::Error;

/// The sizes that memory and work are counted of.
///
/// Each is at most what a checkpoint's configuration may say, so that no product of them that is
/// taken here has more than 128 bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelSizes {
    /// The model's name.
    pub name: String,
    pub(crate) tower: Tower,
    pub(crate) connector: Connector,
    pub(crate) llm: Llm,
}

/// The vision tower.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tower {
    /// Numbers of an image: channels, height and width.
    pub(crate) pixels: u128,
    /// Crops of an image, of all scales together.
    pub(crate) crops: u128,
    /// Positions of a crop: the class token and every patch.
    pub(crate) positions: u128,
    /// Numbers of a patch.
    pub(crate) patch: u128,
    pub(crate) hidden: u128,
    pub(crate) inner: u128,
    pub(crate) heads: u128,
    /// Layers that run.
    pub(crate) layers: u128,
    pub(crate) moe: Option<Experts>,
}

/// The connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Connector {
    /// Tokens of an image.
    pub(crate) tokens: u128,
    pub(crate) input: u128,
    pub(crate) hidden: u128,
    /// Linear layers, of each expert where there are experts.
    pub(crate) layers: u128,
    pub(crate) moe: Option<Experts>,
}

/// The language model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Llm {
    pub(crate) vocab: u128,
    pub(crate) hidden: u128,
    pub(crate) inner: u128,
    pub(crate) layers: u128,
    pub(crate) heads: u128,
    /// Channels of all query heads.
    pub(crate) query: u128,
    /// Channels of all key heads.
    pub(crate) key: u128,
    /// Half of a head's channels.
    pub(crate) half: u128,
    pub(crate) context: u128,
    pub(crate) window: Option<u128>,
    pub(crate) moe: Option<Experts>,
    pub(crate) tied: bool,
}

/// A mixture of experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Experts {
    pub(crate) all: u128,
    pub(crate) chosen: u128,
}

impl Experts {
    /// Experts that at least one of `tokens` is sent to, on average, if each token takes any with
    /// the same chance: `all * (1 - (1 - chosen / all)^tokens)`.
    pub(crate) fn expected(self, tokens: f64) -> f64 {
        let (all, chosen) = (self.all as f64, self.chosen as f64);
        all * (1.0 - (1.0 - chosen / all).powf(tokens))
    }
}

impl ModelSizes {
    /// The sizes of a model.
    ///
    /// # Errors
    /// [`Error::NoLayerSizes`]; [`Error::ModelSize`] for numbers beyond those of any model.
    pub fn of(facts: &ModelFacts) -> Result<ModelSizes, Error> {
        let (vision, llm) = (&facts.vision, &facts.llm);
        let missing = || Error::NoLayerSizes { model: facts.name.clone() };
        let inner = facts.layers.ok_or_else(missing)?;
        let image = size("image size", facts.image.size, 1 << 14)?;
        let patch = size("patch_size", inner.patch_size, facts.image.size)?;
        let grid = image / patch;
        let mut crops = 0;
        for scale in &vision.scales {
            let scale = size("scale", *scale, 64)?;
            crops += scale * scale;
        }
        let scales = size("number of scales", vision.scales.len(), 64)?;
        let channels = size("vision hidden_size", vision.hidden_size, 1 << 20)?;
        let hidden = size("llm hidden_size", llm.hidden_size, 1 << 20)?;
        let tower = Tower {
            pixels: 3 * image * image,
            crops,
            positions: 1 + grid * grid,
            patch: 3 * patch * patch,
            hidden: channels,
            inner: size("vision intermediate_size", inner.vision_intermediate_size, 1 << 22)?,
            heads: size("vision attention heads", inner.vision_num_attention_heads, 1 << 14)?,
            // A tower of one layer runs none of them.
            layers: size("number of vision layers", vision.num_layers + 1, 1024)? - 1,
            moe: experts(vision.moe)?,
        };
        let connector = Connector {
            tokens: size("number of image tokens", vision.image_tokens, (1 << 28) + 1)?,
            input: channels * scales,
            hidden,
            layers: size("number of connector layers", inner.connector_layers, 64)?,
            moe: experts(vision.connector_moe)?,
        };
        let llm = Llm::of(facts, &inner, hidden)?;
        Ok(ModelSizes { name: facts.name.clone(), tower, connector, llm })
    }

    /// Positions that the model was made for.
    pub fn context_length(&self) -> u64 {
        as_u64(self.llm.context)
    }

    /// Positions that an image takes in the prompt.
    pub fn image_tokens(&self) -> u64 {
        as_u64(self.connector.tokens)
    }
}

impl Llm {
    fn of(facts: &ModelFacts, inner: &LayerSizes, hidden: u128) -> Result<Llm, Error> {
        let llm = &facts.llm;
        let heads = size("llm attention heads", llm.num_attention_heads, 1 << 14)?;
        let key_heads = size("llm key and value heads", llm.num_key_value_heads, 1 << 14)?;
        let head = size("llm head_dim", llm.head_dim, 1 << 20)?;
        let window = llm.sliding_window.map(|window| size("sliding_window", window, 1 << 30));
        Ok(Llm {
            vocab: size("vocab_size", llm.vocab_size, 1 << 24)?,
            hidden,
            inner: size("llm intermediate_size", inner.llm_intermediate_size, 1 << 22)?,
            layers: size("number of llm layers", llm.num_layers, 1024)?,
            heads,
            query: heads * head,
            key: key_heads * head,
            half: head / 2,
            context: size("context length", llm.context_length, 1 << 30)?,
            window: window.transpose()?,
            moe: experts(llm.moe)?,
            tied: inner.tie_word_embeddings,
        })
    }
}

fn experts(moe: Option<MoeFacts>) -> Result<Option<Experts>, Error> {
    let Some(MoeFacts { num_experts, num_experts_per_tok }) = moe else { return Ok(None) };
    let all = size("number of experts", num_experts, 1 << 16)?;
    let chosen = size("number of experts of a token", num_experts_per_tok, num_experts)?;
    Ok(Some(Experts { all, chosen }))
}

fn size(name: &'static str, value: usize, most: usize) -> Result<u128, Error> {
    match (1..=most).contains(&value) {
        true => Ok(value as u128),
        false => Err(Error::ModelSize { name, value, most }),
    }
}

/// The number, or the largest one.
pub(crate) fn as_u64(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
