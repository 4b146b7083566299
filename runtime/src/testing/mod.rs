//! What the unit tests share: a model that is known by heart, and a backend that needs no library.
//!
//! The model's vocabulary has 32 tokens, an image has 3 rows, an embedding is one number: the token,
//! or twice the image's first pixel plus the row. The language model keeps the numbers of all
//! positions in its cache, in two heads of opposite sign, and its best next token is
//! [`next_token`] of them. A cache that is swapped, moved or cut wrongly gives other tokens.

mod backend;
mod bundle;

use std::cell::RefCell;
use std::rc::Rc;

use cumo_bundle::{AspectRatio, ImageFacts, LlmFacts, ModelFacts, PromptTemplate, VisionFacts};

use crate::executor::Executor;
use crate::generate::Generator;
pub(crate) use backend::{HostBackend, Seen};
pub(crate) use bundle::{Form, LADDER, bundle};

pub(crate) const VOCAB: usize = 32;
pub(crate) const IMAGE_TOKENS: usize = 3;
pub(crate) const CONTEXT: usize = 64;

/// A token that makes the model answer with NaN.
pub(crate) const POISON: u32 = 31;

/// The model's best token behind positions of these numbers.
pub(crate) fn next_token(values: &[f32]) -> u32 {
    token_of_sum(values.iter().zip(1..).map(|(value, place)| value * place as f32).sum())
}

/// The best token, given the sum of the numbers times their places.
fn token_of_sum(sum: f32) -> u32 {
    3 + (sum as u32 * 7) % 27
}

/// The greedy answer of `count` tokens behind a prompt.
pub(crate) fn greedy(prompt: &[f32], count: usize) -> Vec<u32> {
    let mut values = prompt.to_vec();
    for _ in 0..count {
        values.push(next_token(&values) as f32);
    }
    values[prompt.len()..].iter().map(|value| *value as u32).collect()
}

/// The numbers of an image's positions.
pub(crate) fn image_values(first_pixel: f32) -> [f32; IMAGE_TOKENS] {
    [0.0, 1.0, 2.0].map(|row| 2.0 * (first_pixel + row))
}

pub(crate) fn facts() -> ModelFacts {
    ModelFacts {
        name: "by-heart".to_owned(),
        model_type: "llava_mistral".to_owned(),
        image: ImageFacts {
            size: 2,
            aspect_ratio: AspectRatio::Pad,
            mean: [0.0; 3],
            std: [1.0; 3],
        },
        vision: VisionFacts {
            scales: vec![1, 2],
            image_tokens: IMAGE_TOKENS,
            hidden_size: 1,
            num_layers: 1,
            moe: None,
            connector_moe: None,
        },
        llm: LlmFacts {
            vocab_size: VOCAB,
            hidden_size: 1,
            num_layers: 1,
            num_attention_heads: 2,
            num_key_value_heads: 2,
            head_dim: 1,
            context_length: CONTEXT,
            sliding_window: None,
            moe: None,
            bos_token_id: 1,
            eos_token_ids: vec![2],
        },
        layers: None,
        tokenizer: None,
        template: PromptTemplate::MistralInstruct,
    }
}

/// A generator of the model, and what its backend has been asked for.
pub(crate) fn generator(form: Form) -> (Generator, Rc<RefCell<Seen>>) {
    generator_seen(form, Seen::default())
}

/// The same on a backend whose memory is said to be a device's.
pub(crate) fn generator_on_device(form: Form) -> (Generator, Rc<RefCell<Seen>>) {
    generator_seen(form, Seen { is_device: true, ..Seen::default() })
}

fn generator_seen(form: Form, seen: Seen) -> (Generator, Rc<RefCell<Seen>>) {
    let seen = Rc::new(RefCell::new(seen));
    let backend = HostBackend::new(seen.clone());
    let bundle = bundle(form);
    let executor = Executor::new(&bundle, Box::new(backend)).unwrap();
    (Generator::new(executor, bundle.manifest.model), seen)
}
