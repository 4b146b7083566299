//! MLPs and mixtures of experts: one definition for tower, connector and LLM.

mod experts;
mod router;

use cumo_checkpoint::model::{FeedForward, Mlp, Moe};
use cumo_onnx::{Attribute, DType, Dim, Shape, Value};

pub use experts::{Body, MOE, MoeShape, function as moe_function};
pub use router::{ROUTER, function as router_function};

use crate::activation::Activation;
use crate::builder::ModelBuilder;
use crate::error::Error;

/// The domain of the custom operators.
pub const DOMAIN: &str = "ai.cumo";

impl ModelBuilder<'_> {
    /// What follows attention in a layer; `module` is the router's name in the checkpoint.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn feed_forward(
        &mut self,
        x: &Value,
        part: &FeedForward,
        activation: Activation,
    ) -> Result<Value, Error> {
        match part {
            FeedForward::Dense(mlp) => self.scope("mlp", |b| b.mlp(x, mlp, activation)),
            FeedForward::Moe(moe) => self.scope("moe", |b| b.moe(x, moe, activation)),
        }
    }

    /// `fc2(act(fc1 x))`, or gated `fc2(act(fc1 x) * up x)`.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn mlp(&mut self, x: &Value, mlp: &Mlp, activation: Activation) -> Result<Value, Error> {
        let x = &self.g.cast(x, self.dtype);
        let hidden = self.scope("fc1", |b| b.linear(x, &mlp.fc1))?;
        let mut hidden = activation.apply(&mut self.g, &hidden)?;
        if let Some(up) = &mlp.up {
            let gate = self.scope("up", |b| b.linear(x, up))?;
            hidden = self.g.mul(&hidden, &gate)?;
        }
        self.scope("fc2", |b| b.linear(&hidden, &mlp.fc2))
    }

    /// `y = sum over the chosen of weight * expert(x)`: the router's matrix, `ai.cumo.Router`, and
    /// `ai.cumo.MoE` with one tensor a matrix and expert.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn moe(&mut self, x: &Value, moe: &Moe, activation: Activation) -> Result<Value, Error> {
        let (weights, chosen) = self.scope("router", |b| b.route(x, moe))?;
        let shape = MoeShape::of(moe, activation, self.dtype)?;
        let function = experts::function(&shape, Body::Sparse)?;
        let mut operands = vec![self.g.cast(x, self.dtype), weights, chosen];
        for (index, expert) in moe.experts.iter().enumerate() {
            self.scope(format!("expert[{index}]"), |b| b.expert_operands(expert, &mut operands))?;
        }
        let mut result = x.shape().dims().to_vec();
        if let Some(channels) = result.last_mut() {
            *channels = Dim::Fixed(shape.outputs);
        }
        let attributes = vec![
            ("activation", Attribute::Text(activation.name())),
            ("gated", Attribute::Int(i64::from(shape.gated))),
        ];
        let operands: Vec<&Value> = operands.iter().collect();
        let results = vec![(self.dtype, Shape::from(result))];
        Ok(self.g.call(&function, &operands, attributes, results)?.remove(0))
    }

    /// Routing weights `[.., k]` f32 and chosen experts `[.., k]` i64 for each token. The router's
    /// matrix and everything after it is f32, whatever the part's type: a choice between near equals
    /// must not hang on rounding.
    fn route(&mut self, x: &Value, moe: &Moe) -> Result<(Value, Value), Error> {
        let name = moe.gate.name();
        let gate = self.matrix_f32(&moe.gate)?;
        let x = self.g.cast(x, DType::F32);
        let logits = self.g.matmul(&x, &gate)?;
        let k = moe.num_experts_per_tok;
        let mut dims = logits.shape().dims().to_vec();
        if let Some(last) = dims.last_mut() {
            *last = Dim::Fixed(k);
        }
        let shape = Shape::from(dims);
        let results = vec![(DType::F32, shape.clone()), (DType::I64, shape)];
        let attributes = vec![("k", Attribute::Int(k as i64))];
        let function = router::function(moe.experts.len(), k)?;
        let mut both = self.g.call(&function, &[&logits], attributes, results)?;
        let (chosen, weights) = (both.remove(1), both.remove(0));
        self.keep_router(name.strip_suffix(".weight").unwrap_or(name), &logits, &chosen);
        Ok((weights, chosen))
    }

    /// An expert's matrices `[in, out]`, each followed by its bias if it has one, in the order fc1,
    /// up (gated only), fc2.
    fn expert_operands(&mut self, expert: &Mlp, operands: &mut Vec<Value>) -> Result<(), Error> {
        let layers =
            [("fc1", Some(&expert.fc1)), ("up", expert.up.as_ref()), ("fc2", Some(&expert.fc2))];
        for (part, layer) in layers {
            let Some(layer) = layer else { continue };
            self.scope(part, |b| {
                operands.push(b.matrix(layer.weight.name(), &[&layer.weight])?);
                if let Some(bias) = &layer.bias {
                    operands.push(b.tensor(bias)?);
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}
