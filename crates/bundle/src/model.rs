//! Facts about the model that the runtime needs to prepare input and to plan memory.

use serde::{Deserialize, Serialize};

/// What the model is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFacts {
    /// The checkpoint folder's name.
    pub name: String,
    /// The `model_type` of the checkpoint, for example `llava_mistral`.
    pub model_type: String,
    /// Image preprocessing.
    pub image: ImageFacts,
    /// Vision tower and connector.
    pub vision: VisionFacts,
    /// Language model.
    pub llm: LlmFacts,
    /// Sizes within the layers; none in a bundle that was written before they were noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<LayerSizes>,
    /// The tokenizer in the bundle, if the checkpoint had one.
    pub tokenizer: Option<TokenizerKind>,
    /// The conversation template the model was trained on.
    pub template: PromptTemplate,
}

/// How an image becomes pixels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageFacts {
    /// Height and width of `pixel_values`.
    pub size: usize,
    /// What is done with images that are not square.
    pub aspect_ratio: AspectRatio,
    /// Mean of each channel, subtracted after division by 255.
    pub mean: [f32; 3],
    /// Standard deviation of each channel, divided by.
    pub std: [f32; 3],
}

/// What is done with images that are not square (`image_aspect_ratio`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AspectRatio {
    /// Padded to a square with the mean colour, then resized.
    Pad,
    /// The short edge is resized to the size, then the centre is cut out.
    Crop,
}

/// Sizes of the vision tower and connector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VisionFacts {
    /// Image scales; each adds `scale * scale` crops.
    pub scales: Vec<usize>,
    /// Tokens that one image becomes.
    pub image_tokens: usize,
    /// Channels of one scale's features.
    pub hidden_size: usize,
    /// Tower layers that run (one less than the tower has).
    pub num_layers: usize,
    /// Experts of the tower's layers; none when they are dense.
    pub moe: Option<MoeFacts>,
    /// Experts of the connector; none when it is dense.
    pub connector_moe: Option<MoeFacts>,
}

/// Sizes of the language model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LlmFacts {
    /// Tokens in the vocabulary.
    pub vocab_size: usize,
    /// Channels of an embedding.
    pub hidden_size: usize,
    /// Decoder layers.
    pub num_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads.
    pub num_key_value_heads: usize,
    /// Channels of one head.
    pub head_dim: usize,
    /// Positions the model can hold, images and text together.
    pub context_length: usize,
    /// A token sees itself and this many less one before it; none sees all.
    pub sliding_window: Option<usize>,
    /// Experts of the layers; none when they are dense.
    pub moe: Option<MoeFacts>,
    /// First token of a prompt.
    pub bos_token_id: u32,
    /// Tokens that end an answer.
    pub eos_token_ids: Vec<u32>,
}

/// Sizes within the layers. Nothing runs by them: memory and work are counted of them before a
/// model is exported or loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerSizes {
    /// Height and width of the tower's patches, in pixels.
    pub patch_size: usize,
    /// Attention heads of the tower.
    pub vision_num_attention_heads: usize,
    /// Channels within an MLP or expert of the tower.
    pub vision_intermediate_size: usize,
    /// Linear layers of the connector, or of each of its experts.
    pub connector_layers: usize,
    /// Channels within an MLP or expert of the language model.
    pub llm_intermediate_size: usize,
    /// Whether the checkpoint has one matrix for embedding and head; a bundle has both.
    pub tie_word_embeddings: bool,
}

/// A mixture of experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoeFacts {
    /// Experts of each layer.
    pub num_experts: usize,
    /// Experts that each token is sent to.
    pub num_experts_per_tok: usize,
}

/// Which tokenizer file the bundle holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenizerKind {
    /// `tokenizer.model`, SentencePiece.
    #[serde(rename = "tokenizer.model")]
    SentencePiece,
    /// `tokenizer.json`, Hugging Face tokenizers.
    #[serde(rename = "tokenizer.json")]
    HuggingFace,
}

impl TokenizerKind {
    /// The file's name in the bundle.
    pub fn file_name(self) -> &'static str {
        match self {
            TokenizerKind::SentencePiece => "tokenizer.model",
            TokenizerKind::HuggingFace => "tokenizer.json",
        }
    }
}

/// A conversation template, by the name the original code gives it (`conversation.py`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptTemplate {
    /// `[INST] ... [/INST]` without a system text.
    MistralInstruct,
    /// The same with a system text; CuMo's own.
    MistralInstructSystem,
    /// Vicuna's `USER: ... ASSISTANT:`.
    V1,
    /// Llama 2's `[INST]` with a system text.
    LlavaLlama2,
    /// Text as it is.
    Plain,
}

impl PromptTemplate {
    /// Every template.
    pub const ALL: [PromptTemplate; 5] = [
        PromptTemplate::MistralInstruct,
        PromptTemplate::MistralInstructSystem,
        PromptTemplate::V1,
        PromptTemplate::LlavaLlama2,
        PromptTemplate::Plain,
    ];

    /// The template of this name; none where it is not known.
    pub fn by_name(name: &str) -> Option<PromptTemplate> {
        PromptTemplate::ALL.into_iter().find(|template| template.name() == name)
    }

    /// The template's name on the command line and in the manifest.
    pub fn name(self) -> &'static str {
        match self {
            PromptTemplate::MistralInstruct => "mistral_instruct",
            PromptTemplate::MistralInstructSystem => "mistral_instruct_system",
            PromptTemplate::V1 => "v1",
            PromptTemplate::LlavaLlama2 => "llava_llama_2",
            PromptTemplate::Plain => "plain",
        }
    }
}
