//! Normalisations in standard operators.

use cumo_checkpoint::Tensor;
use cumo_checkpoint::model::LayerNorm;
use cumo_onnx::{DType, Opset, Value};

use crate::builder::ModelBuilder;
use crate::error::Error;

impl ModelBuilder<'_> {
    /// Layer normalisation of a residual (f32) over the channels.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn layer_norm(
        &mut self,
        x: &Value,
        norm: &LayerNorm,
        epsilon: f32,
    ) -> Result<Value, Error> {
        let (weight, bias) = (self.tensor_f32(&norm.weight)?, self.tensor_f32(&norm.bias)?);
        Ok(self.g.layer_normalization(x, &weight, &bias, epsilon)?)
    }

    /// RMS normalisation of a residual (f32) over the channels (`MistralRMSNorm` of transformers),
    /// as one operator where the opset has it.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn rms_norm(&mut self, x: &Value, weight: &Tensor, epsilon: f32) -> Result<Value, Error> {
        let weight = self.tensor_f32(weight)?;
        if self.g.opset() == Opset::V24 {
            return Ok(self.g.rms_normalization(x, &weight, epsilon)?);
        }
        let square = self.g.mul(x, x)?;
        let mean = self.g.reduce_mean(&square, &[x.shape().rank().saturating_sub(1)], true)?;
        let epsilon = self.g.scalar(DType::F32, f64::from(epsilon));
        let mean = self.g.add_values(&mean, &epsilon)?;
        let root = self.g.sqrt(&mean);
        let normalised = self.g.div(x, &root)?;
        Ok(self.g.mul(&normalised, &weight)?)
    }
}
