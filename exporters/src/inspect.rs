//! What a checkpoint holds, as a table and as JSON.

use std::collections::BTreeMap;
use std::fmt;

use cumo_checkpoint::{Checkpoint, ConnectorKind, MoeConfig, Tensor};
use serde::Serialize;

use crate::size;

/// How many unused tensors are named before the rest is counted.
const NAMED_UNUSED: usize = 8;

/// What a checkpoint holds.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    name: String,
    model_type: String,
    image_size: usize,
    image_tokens: usize,
    scales: Vec<usize>,
    context_length: usize,
    tokenizer: Option<String>,
    parts: Vec<Part>,
    unused: Vec<Unused>,
}

/// A part of the model.
#[derive(Debug, Serialize)]
struct Part {
    name: &'static str,
    kind: String,
    layers: usize,
    num_experts: Option<usize>,
    num_experts_per_tok: Option<usize>,
    tensors: usize,
    parameters: u64,
    bytes: u64,
    dtypes: BTreeMap<&'static str, usize>,
}

/// A tensor that inference does not need.
#[derive(Debug, Serialize)]
struct Unused {
    name: String,
    dtype: &'static str,
    shape: Vec<usize>,
    bytes: usize,
}

impl Report {
    /// Looks through a checkpoint; no weights are read.
    pub(crate) fn of(checkpoint: &Checkpoint) -> Report {
        let config = &checkpoint.config;
        let model = &checkpoint.model;
        let (vision, connector) = (model.vision.tensors(), model.connector.tensors());
        let llm = model.llm.tensors();
        let (kind, connector_layers, connector_moe) = match config.connector.kind {
            ConnectorKind::Linear => ("linear", 1, None),
            ConnectorKind::Mlp { depth } => ("mlp gelu", depth, None),
            ConnectorKind::Moe(moe) => ("smoe_mlp", 2, Some(moe)),
        };
        let family = config.llm.family.to_string();
        let layers = model.vision.layers.len();
        Report {
            name: checkpoint.name.clone(),
            model_type: config.model_type.clone(),
            image_size: config.vision.image_size,
            image_tokens: config.vision.image_tokens(),
            scales: config.vision.scales.clone(),
            context_length: config.llm.max_position_embeddings,
            tokenizer: checkpoint.tokenizer.as_ref().map(|file| file.path.display().to_string()),
            parts: vec![
                Part::of("vision", "clip".to_owned(), layers, config.vision.moe, &vision),
                Part::of("connector", kind.to_owned(), connector_layers, connector_moe, &connector),
                Part::of("llm", family, config.llm.num_hidden_layers, config.llm.moe, &llm),
            ],
            unused: checkpoint
                .unused
                .iter()
                .map(|tensor| Unused {
                    name: tensor.name().to_owned(),
                    dtype: tensor.dtype(),
                    shape: tensor.shape().to_vec(),
                    bytes: tensor.num_bytes(),
                })
                .collect(),
        }
    }
}

impl Part {
    fn of(
        name: &'static str,
        kind: String,
        layers: usize,
        moe: Option<MoeConfig>,
        tensors: &[&Tensor],
    ) -> Part {
        let mut dtypes = BTreeMap::new();
        for tensor in tensors {
            *dtypes.entry(tensor.dtype().name()).or_default() += 1;
        }
        Part {
            name,
            kind,
            layers,
            num_experts: moe.map(|moe| moe.num_experts),
            num_experts_per_tok: moe.map(|moe| moe.num_experts_per_tok),
            tensors: tensors.len(),
            parameters: tensors.iter().map(|tensor| tensor.num_elements() as u64).sum(),
            bytes: tensors.iter().map(|tensor| tensor.num_bytes() as u64).sum(),
            dtypes,
        }
    }

    fn row(&self) -> [String; 9] {
        let or_dash = |number: Option<usize>| number.map_or("-".to_owned(), |n| n.to_string());
        let dtypes: Vec<&str> = self.dtypes.keys().copied().collect();
        [
            self.name.to_owned(),
            self.kind.clone(),
            self.layers.to_string(),
            or_dash(self.num_experts),
            or_dash(self.num_experts_per_tok),
            self.tensors.to_string(),
            size::count(self.parameters),
            dtypes.join("+"),
            size::bytes(self.bytes),
        ]
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ({})", self.name, self.model_type)?;
        writeln!(
            f,
            "images {0} x {0}, scales {1:?}, {2} tokens an image; context {3}; tokenizer {4}\n",
            self.image_size,
            self.scales,
            self.image_tokens,
            self.context_length,
            self.tokenizer.as_deref().unwrap_or("none")
        )?;
        let head = [
            "part",
            "kind",
            "layers",
            "experts",
            "top-k",
            "tensors",
            "parameters",
            "dtype",
            "size",
        ];
        let mut rows = vec![head.map(str::to_owned)];
        rows.extend(self.parts.iter().map(Part::row));
        let sum = |of: fn(&Part) -> u64| self.parts.iter().map(of).sum::<u64>();
        let mut total = [const { String::new() }; 9];
        total[0] = "all".to_owned();
        total[6] = size::count(sum(|part| part.parameters));
        total[8] = size::bytes(sum(|part| part.bytes));
        rows.push(total);
        write_table(f, &rows)?;
        self.write_unused(f)
    }
}

impl Report {
    fn write_unused(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.unused.is_empty() {
            return Ok(());
        }
        let bytes: usize = self.unused.iter().map(|tensor| tensor.bytes).sum();
        writeln!(
            f,
            "\nnot needed at inference: {} tensors, {}",
            self.unused.len(),
            size::bytes(bytes as u64)
        )?;
        for tensor in self.unused.iter().take(NAMED_UNUSED) {
            writeln!(f, "  {} {} {:?}", tensor.name, tensor.dtype, tensor.shape)?;
        }
        match self.unused.len().checked_sub(NAMED_UNUSED) {
            None | Some(0) => Ok(()),
            Some(more) => writeln!(f, "  and {more} more (--json lists all)"),
        }
    }
}

/// Columns as wide as their widest cell; the first two to the left, numbers to the right.
fn write_table(f: &mut fmt::Formatter<'_>, rows: &[[String; 9]]) -> fmt::Result {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..9).map(width).collect();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (cell, width))| match column {
                0 | 1 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            })
            .collect();
        writeln!(f, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}
