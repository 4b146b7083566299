//! The connector's configuration.

use serde_json::Value;

use super::keys::Keys;
use super::llm::LlmConfig;
use super::vision::VisionConfig;
use super::{MoeConfig, MoeKeys};
use crate::error::ConfigProblemKind;

/// What the connector is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectorKind {
    /// `linear`: one layer.
    Linear,
    /// `mlpNx_gelu`: layers with exact gelu between them.
    Mlp {
        /// N, the number of layers; at least 1.
        depth: usize,
    },
    /// `smoe_mlp`: a router and experts of two layers with exact gelu between them.
    Moe(MoeConfig),
}

/// From image features to the LLM's embeddings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectorConfig {
    /// What it is made of.
    pub kind: ConnectorKind,
    /// Channels of an image token: the vision tower's, times the number of scales.
    pub input_size: usize,
    /// Channels of an embedding, the LLM's.
    pub hidden_size: usize,
}

impl ConnectorConfig {
    pub(super) fn read(
        keys: &mut Keys<'_>,
        vision: Option<&VisionConfig>,
        llm: Option<&LlmConfig>,
        moe: &MoeKeys,
    ) -> Option<Self> {
        let kind = kind(keys, moe);
        let (vision, llm) = (vision?, llm?);
        let input_size = vision.hidden_size.checked_mul(vision.scales.len())?;
        // The original multiplies it by the number of scales itself, but not for `linear`.
        let is_input = |size| kind == Some(ConnectorKind::Linear) && size == input_size;
        if let Some(mm_hidden_size) =
            keys.count("mm_hidden_size", Some(vision.hidden_size), 0..=usize::MAX)
            && mm_hidden_size != vision.hidden_size
            && !is_input(mm_hidden_size)
        {
            let kind = ConfigProblemKind::Contradicts {
                got: mm_hidden_size.to_string(),
                with: "the vision tower's `hidden_size`".to_owned(),
                other: vision.hidden_size.to_string(),
            };
            keys.problem("mm_hidden_size", kind);
        }
        Some(Self { kind: kind?, input_size, hidden_size: llm.hidden_size })
    }
}

fn kind(keys: &mut Keys<'_>, moe: &MoeKeys) -> Option<ConnectorKind> {
    const KNOWN: &str = "only `smoe_mlp`, `linear` and `mlpNx_gelu` (N from 1 to 64) are known";
    let is_moe = keys.text("mm_projector_type") == Some("smoe_mlp");
    let mlp_smoe = keys.flag("mlp_smoe", is_moe)?;
    let kind = match keys.get("mm_projector_type").and_then(Value::as_str) {
        None if keys.get("mm_projector_type").is_some() => return None,
        // As in the original.
        None | Some("linear") => ConnectorKind::Linear,
        Some("smoe_mlp") => ConnectorKind::Moe(moe.config?),
        Some("identity") => {
            keys.not_supported(
                "mm_projector_type",
                "image features must be brought to the LLM's embeddings",
            );
            return None;
        }
        Some(text) => {
            let depth = text.strip_prefix("mlp").and_then(|text| text.strip_suffix("x_gelu"));
            let depth = depth.filter(|depth| depth.bytes().all(|byte| byte.is_ascii_digit()));
            let depth = depth.and_then(|depth| depth.parse::<usize>().ok());
            let Some(depth) = depth.filter(|depth| (1..=64).contains(depth)) else {
                keys.not_supported("mm_projector_type", KNOWN);
                return None;
            };
            ConnectorKind::Mlp { depth }
        }
    };
    if mlp_smoe != is_moe {
        let with = "`mm_projector_type`".to_owned();
        let other = keys.text("mm_projector_type").unwrap_or("linear").to_owned();
        let kind = ConfigProblemKind::Contradicts { got: mlp_smoe.to_string(), with, other };
        keys.problem("mlp_smoe", kind);
    }
    Some(kind)
}
