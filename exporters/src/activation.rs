//! Activations in standard operators.

use cumo_onnx::{Error, GraphBuilder, Opset, Value};

/// The non-linearity between the layers of an MLP or expert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x * sigmoid(1.702 x)`: CLIP.
    QuickGelu,
    /// `x / 2 * (1 + erf(x / sqrt 2))`: the connector.
    Gelu,
    /// `x * sigmoid(x)`: the LLM.
    Silu,
}

impl Activation {
    /// The name in the `activation` attribute of `ai.cumo.MoE`.
    pub fn name(self) -> &'static str {
        match self {
            Activation::QuickGelu => "quick_gelu",
            Activation::Gelu => "gelu",
            Activation::Silu => "silu",
        }
    }

    /// Adds the activation to a graph or function body, as one operator where the opset has it.
    ///
    /// # Errors
    /// None for floating-point values.
    pub fn apply(self, g: &mut GraphBuilder, x: &Value) -> Result<Value, Error> {
        match (self, g.opset()) {
            (Activation::QuickGelu, Opset::V24) => g.swish(x, 1.702),
            (Activation::Silu, Opset::V24) => g.swish(x, 1.0),
            (Activation::Gelu, Opset::V24) => g.gelu(x),
            (_, Opset::V17) => self.spell_out(g, x),
        }
    }

    fn spell_out(self, g: &mut GraphBuilder, x: &Value) -> Result<Value, Error> {
        match self {
            Activation::QuickGelu => {
                let scaled = g.scale(x, 1.702)?;
                let gate = g.sigmoid(&scaled);
                g.mul(x, &gate)
            }
            Activation::Silu => {
                let gate = g.sigmoid(x);
                g.mul(x, &gate)
            }
            // The order of operations that ONNX Runtime fuses to one Gelu.
            Activation::Gelu => {
                let root_two = g.scalar(x.dtype(), std::f64::consts::SQRT_2);
                let scaled = g.div(x, &root_two)?;
                let erf = g.erf(&scaled);
                let one = g.scalar(x.dtype(), 1.0);
                let sum = g.add_values(&erf, &one)?;
                let product = g.mul(x, &sum)?;
                g.scale(&product, 0.5)
            }
        }
    }
}
