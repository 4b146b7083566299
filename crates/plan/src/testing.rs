//! Published models' facts, as their configurations say.

use cumo_bundle::{
    AspectRatio, ImageFacts, LayerSizes, LlmFacts, ModelFacts, MoeFacts, PromptTemplate,
    VisionFacts,
};

use crate::sizes::ModelSizes;

/// CuMo-Mistral-7B.
pub(crate) fn mistral_7b_facts() -> ModelFacts {
    let moe = Some(MoeFacts { num_experts: 4, num_experts_per_tok: 2 });
    ModelFacts {
        name: "cumo-mistral-7b".to_owned(),
        model_type: "llava_mistral".to_owned(),
        image: ImageFacts {
            size: 336,
            aspect_ratio: AspectRatio::Pad,
            mean: [0.5; 3],
            std: [0.5; 3],
        },
        vision: VisionFacts {
            scales: vec![1, 3],
            image_tokens: 576,
            hidden_size: 1024,
            num_layers: 23,
            moe,
            connector_moe: moe,
        },
        llm: LlmFacts {
            vocab_size: 32000,
            hidden_size: 4096,
            num_layers: 32,
            num_attention_heads: 32,
            num_key_value_heads: 8,
            head_dim: 128,
            context_length: 32768,
            sliding_window: None,
            moe: None,
            bos_token_id: 1,
            eos_token_ids: vec![2],
        },
        layers: Some(LayerSizes {
            patch_size: 14,
            vision_num_attention_heads: 16,
            vision_intermediate_size: 4096,
            connector_layers: 2,
            llm_intermediate_size: 14336,
            tie_word_embeddings: false,
        }),
        tokenizer: None,
        template: PromptTemplate::MistralInstructSystem,
    }
}

/// CuMo-Mixtral-8x7B.
pub(crate) fn mixtral_8x7b_facts() -> ModelFacts {
    let mut facts = mistral_7b_facts();
    facts.name = "cumo-mixtral-8x7b".to_owned();
    facts.llm.moe = Some(MoeFacts { num_experts: 8, num_experts_per_tok: 2 });
    facts
}

/// Sizes of CuMo-Mistral-7B.
pub(crate) fn mistral_7b() -> ModelSizes {
    ModelSizes::of(&mistral_7b_facts()).unwrap()
}

/// Sizes of CuMo-Mixtral-8x7B.
pub(crate) fn mixtral_8x7b() -> ModelSizes {
    ModelSizes::of(&mixtral_8x7b_facts()).unwrap()
}
