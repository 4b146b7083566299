//! The checkpoint's configuration as the facts that the runtime needs.

use cumo_bundle::{
    AspectRatio, ImageFacts, LayerSizes, LlmFacts, ModelFacts, MoeFacts, PromptTemplate,
    TokenizerKind, VisionFacts,
};
use cumo_checkpoint::{Checkpoint, Config, ConnectorKind, Family, MoeConfig, Sources};

use crate::error::Error;

/// The facts of a checkpoint, for a conversation template.
pub(crate) fn model_facts(checkpoint: &Checkpoint, template: PromptTemplate) -> ModelFacts {
    let config = &checkpoint.config;
    ModelFacts {
        name: checkpoint.name.clone(),
        model_type: config.model_type.clone(),
        image: image_facts(config),
        vision: vision_facts(config, checkpoint.model.vision.layers.len()),
        llm: llm_facts(config),
        layers: Some(layer_sizes(config)),
        tokenizer: checkpoint.tokenizer.as_ref().map(|file| match file.kind {
            cumo_checkpoint::TokenizerKind::SentencePiece => TokenizerKind::SentencePiece,
            cumo_checkpoint::TokenizerKind::Json => TokenizerKind::HuggingFace,
        }),
        template,
    }
}

/// The facts of the model that a checkpoint's configuration describes; no weights are looked for.
///
/// # Errors
/// [`Error::Checkpoint`], [`Error::Template`].
pub fn shapes_facts(sources: &Sources) -> Result<ModelFacts, Error> {
    let checkpoint = Checkpoint::shapes(sources)?;
    let template = default_template(&checkpoint.config)?;
    Ok(model_facts(&checkpoint, template))
}

/// The template that the checkpoint names, or else the one that the original's command line takes
/// for a model of this family.
///
/// # Errors
/// [`Error::Template`].
pub(crate) fn default_template(config: &Config) -> Result<PromptTemplate, Error> {
    let Some(name) = &config.conv_mode else {
        return Ok(match config.llm.family {
            Family::Mistral | Family::Mixtral => PromptTemplate::MistralInstructSystem,
            Family::Llama => PromptTemplate::V1,
        });
    };
    PromptTemplate::by_name(name).ok_or_else(|| {
        let known = PromptTemplate::ALL.map(PromptTemplate::name).to_vec();
        Error::Template { found: cumo_checkpoint::shown(name), known }
    })
}

fn image_facts(config: &Config) -> ImageFacts {
    ImageFacts {
        size: config.image.size,
        aspect_ratio: match config.image.aspect_ratio {
            cumo_checkpoint::AspectRatio::Pad => AspectRatio::Pad,
            cumo_checkpoint::AspectRatio::Crop => AspectRatio::Crop,
        },
        mean: config.image.mean,
        std: config.image.std,
    }
}

fn vision_facts(config: &Config, num_layers: usize) -> VisionFacts {
    VisionFacts {
        scales: config.vision.scales.clone(),
        image_tokens: config.vision.image_tokens(),
        hidden_size: config.vision.hidden_size,
        num_layers,
        moe: config.vision.moe.map(moe_facts),
        connector_moe: match config.connector.kind {
            ConnectorKind::Moe(moe) => Some(moe_facts(moe)),
            ConnectorKind::Linear | ConnectorKind::Mlp { .. } => None,
        },
    }
}

fn llm_facts(config: &Config) -> LlmFacts {
    let llm = &config.llm;
    LlmFacts {
        vocab_size: llm.vocab_size,
        hidden_size: llm.hidden_size,
        num_layers: llm.num_hidden_layers,
        num_attention_heads: llm.num_attention_heads,
        num_key_value_heads: llm.num_key_value_heads,
        head_dim: llm.head_dim,
        context_length: llm.max_position_embeddings,
        sliding_window: llm.sliding_window,
        moe: llm.moe.map(moe_facts),
        bos_token_id: llm.bos_token_id,
        eos_token_ids: llm.eos_token_ids.clone(),
    }
}

fn layer_sizes(config: &Config) -> LayerSizes {
    LayerSizes {
        patch_size: config.vision.patch_size,
        vision_num_attention_heads: config.vision.num_attention_heads,
        vision_intermediate_size: config.vision.intermediate_size,
        connector_layers: match config.connector.kind {
            ConnectorKind::Linear => 1,
            ConnectorKind::Mlp { depth } => depth,
            ConnectorKind::Moe(_) => 2,
        },
        llm_intermediate_size: config.llm.intermediate_size,
        tie_word_embeddings: config.llm.tie_word_embeddings,
    }
}

fn moe_facts(moe: MoeConfig) -> MoeFacts {
    MoeFacts { num_experts: moe.num_experts, num_experts_per_tok: moe.num_experts_per_tok }
}
