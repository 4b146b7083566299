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

/// The name of `ai.cumo.MoE` as a TensorRT plugin.
pub const PLUGIN: &str = "CumoMoE";

/// What a graph holds of the custom operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Functions of the model; MoE with one of its bodies.
    Functions(Body),
    /// MoE as a node that a TensorRT plugin implements, and the router's operators in place.
    Plugin,
}

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
        let hidden = match &mlp.up {
            None => {
                let hidden = self.scope("fc1", |b| b.linear(x, &mlp.fc1))?;
                activation.apply(&mut self.g, &hidden)?
            }
            Some(up) => {
                let parts = [("fc1", &mlp.fc1), ("up", up)];
                let [hidden, up] = self.projections(x, "gate_up_proj", parts)?;
                let hidden = activation.apply(&mut self.g, &hidden)?;
                self.g.mul(&hidden, &up)?
            }
        };
        self.scope("fc2", |b| b.linear(&hidden, &mlp.fc2))
    }

    /// `y = sum over the chosen of weight * expert(x)`: the router's matrix, `ai.cumo.Router`, and
    /// `ai.cumo.MoE` with one tensor a matrix and expert.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn moe(&mut self, x: &Value, moe: &Moe, activation: Activation) -> Result<Value, Error> {
        let (weights, chosen) = self.scope("router", |b| b.route(x, moe))?;
        let form = self.target.moe_form();
        let shape = MoeShape {
            // The plugin's kernels and its twin on ONNX Runtime read `[in, out]`.
            transposed: self.target.is_for_engines() && form == Form::Functions(Body::Dense),
            ..MoeShape::of(moe, activation, self.dtype)?
        };
        let mut operands = vec![self.g.cast(x, self.dtype), weights, chosen];
        for (index, expert) in moe.experts.iter().enumerate() {
            self.scope(format!("expert[{index}]"), |b| {
                b.expert_operands(expert, shape.transposed, &mut operands)
            })?;
        }
        let mut result = x.shape().dims().to_vec();
        if let Some(channels) = result.last_mut() {
            *channels = Dim::Fixed(shape.outputs);
        }
        let result = (self.dtype, Shape::from(result));
        let mut attributes = vec![
            ("activation", Attribute::Text(activation.name())),
            ("gated", Attribute::Int(i64::from(shape.gated))),
        ];
        if shape.transposed {
            attributes.push(("transposed", Attribute::Int(1)));
        }
        match form {
            Form::Functions(body) => {
                let function = experts::function(self.g.opset(), &shape, body)?;
                let operands: Vec<&Value> = operands.iter().collect();
                Ok(self.g.call(&function, &operands, attributes, vec![result])?.remove(0))
            }
            Form::Plugin => {
                attributes.extend([
                    ("biased", Attribute::Int(i64::from(shape.biased))),
                    ("num_experts", Attribute::Int(shape.num_experts as i64)),
                    ("num_experts_per_tok", Attribute::Int(shape.num_experts_per_tok as i64)),
                    ("plugin_version", Attribute::Text("1")),
                    ("plugin_namespace", Attribute::Text("")),
                ]);
                if let Some(chosen) = operands.get_mut(2) {
                    *chosen = self.g.cast(chosen, DType::I32);
                }
                let operands: Vec<&Value> = operands.iter().collect();
                Ok(self.g.plugin((DOMAIN, PLUGIN), &operands, attributes, result))
            }
        }
    }

    /// Routing weights `[.., k]` f32 and chosen experts `[.., k]` i64 for each token. The router's
    /// matrix and everything after it is f32, whatever the part's type: a choice between near equals
    /// must not hang on rounding.
    fn route(&mut self, x: &Value, moe: &Moe) -> Result<(Value, Value), Error> {
        let x = self.g.cast(x, DType::F32);
        let logits = self.target.router_logits(self, &x, &moe.gate)?;
        let (weights, chosen) = self.choose(&logits, moe)?;
        let name = moe.gate.name();
        self.keep_router(name.strip_suffix(".weight").unwrap_or(name), &logits, &chosen);
        Ok((weights, chosen))
    }

    /// `ai.cumo.Router`, called or in place.
    fn choose(&mut self, logits: &Value, moe: &Moe) -> Result<(Value, Value), Error> {
        let k = moe.num_experts_per_tok;
        if self.target.moe_form() == Form::Plugin {
            let count = self.g.ints(&[k as i64]);
            return Ok(router::body(&mut self.g, logits, &count, k)?);
        }
        let mut dims = logits.shape().dims().to_vec();
        if let Some(last) = dims.last_mut() {
            *last = Dim::Fixed(k);
        }
        let shape = Shape::from(dims);
        let results = vec![(DType::F32, shape.clone()), (DType::I64, shape)];
        let attributes = vec![("k", Attribute::Int(k as i64))];
        let function = router::function(self.g.opset(), moe.experts.len(), k)?;
        let mut both = self.g.call(&function, &[logits], attributes, results)?;
        let (chosen, weights) = (both.remove(1), both.remove(0));
        Ok((weights, chosen))
    }

    /// An expert's matrices `[in, out]`, or `[out, in]` where `transposed`, each followed by its bias
    /// if it has one, in the order fc1, up (gated only), fc2.
    fn expert_operands(
        &mut self,
        expert: &Mlp,
        transposed: bool,
        operands: &mut Vec<Value>,
    ) -> Result<(), Error> {
        let layers =
            [("fc1", Some(&expert.fc1)), ("up", expert.up.as_ref()), ("fc2", Some(&expert.fc2))];
        for (part, layer) in layers {
            let Some(layer) = layer else { continue };
            self.scope(part, |b| {
                let (name, weight) = (layer.weight.name(), [&layer.weight]);
                operands.push(match transposed {
                    true => b.stacked(name, &weight)?,
                    false => b.matrix(name, &weight)?,
                });
                if let Some(bias) = &layer.bias {
                    operands.push(b.tensor(bias)?);
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}
