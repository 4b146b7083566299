//! The weights of each part: parameters, bytes that are held, and bytes that a pass reads.

use cumo_bundle::Dtype;
use serde::Serialize;

use crate::precision::{MAX_TABLE, Precision};
use crate::sizes::{Experts, ModelSizes, as_u64};

/// A part of the model, as bundles are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The vision tower.
    Vision,
    /// The connector.
    Connector,
    /// The token embedding.
    Embed,
    /// The decoder LLM, its head included.
    Llm,
}

impl Part {
    /// Every part, in the order of the data.
    pub const ALL: [Part; 4] = [Part::Vision, Part::Connector, Part::Embed, Part::Llm];

    /// The part's name in a bundle.
    pub fn name(self) -> &'static str {
        match self {
            Part::Vision => "vision",
            Part::Connector => "connector",
            Part::Embed => "embed",
            Part::Llm => "llm",
        }
    }
}

/// A part's parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Parameters {
    /// The part.
    pub part: Part,
    /// Numbers in its tensors, those of a matrix that two parts share once.
    pub parameters: u64,
    /// Of these, those that one token meets: without the experts that it is not sent to.
    pub active: u64,
}

/// What a tensor is, as far as its type follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Goes into a matrix product, or is a table of embeddings.
    Matrix,
    /// The patch convolution's.
    Patch,
    /// Norms, positions, routers.
    Small,
    /// Added to the product of a matrix.
    Bias,
    /// The same of an expert.
    ExpertBias,
}

/// Tensors that are alike.
#[derive(Debug, Clone, Copy)]
struct Tensors {
    kind: Kind,
    /// Numbers of all of them but for the experts' factor.
    elements: u128,
    /// Of the experts of a layer, of which each token is sent to some.
    experts: Option<Experts>,
}

impl Tensors {
    fn shared(kind: Kind, elements: u128) -> Tensors {
        Tensors { kind, elements, experts: None }
    }
}

/// A linear layer chain's weights, and its biases.
fn chain(matrix: u128, bias: u128, moe: Option<Experts>, layers: u128) -> Vec<Tensors> {
    let bias_kind = if moe.is_some() { Kind::ExpertBias } else { Kind::Bias };
    [(Kind::Matrix, matrix), (bias_kind, bias)]
        .into_iter()
        .filter(|(_, elements)| *elements > 0)
        .map(|(kind, elements)| Tensors { kind, elements: elements * layers, experts: moe })
        .collect()
}

fn tensors(part: Part, sizes: &ModelSizes) -> Vec<Tensors> {
    let ModelSizes { tower, connector, llm, .. } = sizes;
    let shared = Tensors::shared;
    let gate = |moe: Option<Experts>, inputs: u128, layers: u128| {
        moe.map(|moe| shared(Kind::Small, moe.all * inputs * layers))
    };
    let mut all = Vec::new();
    match part {
        Part::Vision => {
            let (h, i, layers) = (tower.hidden, tower.inner, tower.layers);
            all.push(shared(Kind::Patch, h * tower.patch));
            all.push(shared(Kind::Small, h + tower.positions * h + 2 * h + 4 * h * layers));
            all.extend(chain(4 * h * h, 4 * h, None, layers));
            all.extend(gate(tower.moe, h, layers));
            all.extend(chain(2 * h * i, i + h, tower.moe, layers));
        }
        Part::Connector => {
            let (input, h, n) = (connector.input, connector.hidden, connector.layers);
            all.extend(gate(connector.moe, input, 1));
            all.extend(chain(input * h + (n - 1) * h * h, n * h, connector.moe, 1));
        }
        Part::Embed => all.push(shared(Kind::Matrix, llm.vocab * llm.hidden)),
        Part::Llm => {
            let (h, layers) = (llm.hidden, llm.layers);
            all.push(shared(Kind::Small, 2 * h * layers + h));
            all.push(shared(Kind::Matrix, 2 * h * (llm.query + llm.key) * layers));
            all.extend(gate(llm.moe, h, layers));
            all.extend(chain(3 * h * llm.inner, 0, llm.moe, layers));
            all.push(shared(Kind::Matrix, llm.vocab * h));
        }
    }
    all
}

/// Parameters of a part.
pub(crate) fn parameters(part: Part, sizes: &ModelSizes) -> Parameters {
    let count = |factor: fn(Experts) -> u128| -> u128 {
        let tensors = tensors(part, sizes);
        tensors.iter().map(|group| group.elements * group.experts.map_or(1, factor)).sum()
    };
    // The head is the embedding again.
    let twice = match part {
        Part::Llm if sizes.llm.tied => sizes.llm.vocab * sizes.llm.hidden,
        _ => 0,
    };
    Parameters {
        part,
        parameters: as_u64(count(|experts| experts.all) - twice),
        active: as_u64(count(|experts| experts.chosen) - twice),
    }
}

/// Bytes of a part's tensors, without what aligns them in a file.
pub(crate) fn held(part: Part, precision: Precision, sizes: &ModelSizes) -> u128 {
    let tensors = tensors(part, sizes);
    let bytes = tensors.iter().map(|group| {
        group.elements * group.experts.map_or(1, |experts| experts.all) * size(group, precision)
    });
    bytes.sum::<u128>() + tables(part, precision, sizes)
}

/// Bytes of a part's tensors that a pass over `tokens` reads at least, each once: of the experts
/// those that are expected to be chosen, of the embedding a row a token.
pub(crate) fn read(part: Part, precision: Precision, sizes: &ModelSizes, tokens: f64) -> f64 {
    if part == Part::Embed {
        let row = sizes.llm.hidden as f64 * precision.dtype.stored().size() as f64;
        return row * tokens.min(sizes.llm.vocab as f64);
    }
    let tensors = tensors(part, sizes);
    let bytes = tensors.iter().map(|group| {
        let factor = group.experts.map_or(1.0, |experts| experts.expected(tokens));
        group.elements as f64 * factor * size(group, precision) as f64
    });
    bytes.sum()
}

/// Bytes of a number of these tensors.
fn size(group: &Tensors, precision: Precision) -> u128 {
    let stored = precision.dtype.stored();
    let dtype = match group.kind {
        Kind::Matrix | Kind::ExpertBias => stored,
        // Engines multiply by it, and add biases in f32.
        Kind::Patch if precision.is_for_engines() => stored,
        Kind::Bias if !precision.is_for_engines() => stored,
        Kind::Patch | Kind::Bias | Kind::Small => Dtype::F32,
    };
    dtype.size() as u128
}

/// Bytes of the rotary embedding's cosines and sines, or of the frequencies they are computed of.
fn tables(part: Part, precision: Precision, sizes: &ModelSizes) -> u128 {
    let llm = &sizes.llm;
    let (table, single) = (llm.context * llm.half, Dtype::F32.size() as u128);
    if part != Part::Llm {
        return 0;
    }
    if precision.has_cached_attention(sizes) {
        return 2 * table * precision.products(part, sizes).size() as u128;
    }
    match precision.is_for_engines() && table <= MAX_TABLE {
        true => 2 * table * single,
        false => llm.half * single,
    }
}
