//! Softmax and layer normalisation.

use crate::attribute::Attribute;
use crate::{Error, GraphBuilder, Opset, Value};

impl GraphBuilder {
    /// Softmax over the last dimension.
    pub fn softmax(&mut self, x: &Value) -> Value {
        let axis = vec![("axis", Attribute::Int(-1))];
        self.add("Softmax", &[x], x.dtype(), x.shape().clone(), axis)
    }

    /// Layer normalisation over the last dimension, computed in f32; `weight` and `bias` are
    /// `[channels]`.
    ///
    /// # Errors
    /// [`Error::Node`] where types or the number of channels differ.
    pub fn layer_normalization(
        &mut self,
        x: &Value,
        weight: &Value,
        bias: &Value,
        epsilon: f32,
    ) -> Result<Value, Error> {
        for parameter in [weight, bias] {
            self.check_channels("LayerNormalization", x, parameter)?;
        }
        let attributes = vec![("axis", Attribute::Int(-1)), ("epsilon", Attribute::Float(epsilon))];
        let shape = x.shape().clone();
        Ok(self.add("LayerNormalization", &[x, weight, bias], x.dtype(), shape, attributes))
    }

    /// RMS normalisation over the last dimension, computed in f32; `weight` is `[channels]`.
    ///
    /// # Errors
    /// [`Error::Node`] where types or the number of channels differ, or before opset 23.
    pub fn rms_normalization(
        &mut self,
        x: &Value,
        weight: &Value,
        epsilon: f32,
    ) -> Result<Value, Error> {
        const OP: &str = "RMSNormalization";
        self.needs(OP, Opset::V24)?;
        self.check_channels(OP, x, weight)?;
        let attributes = vec![("axis", Attribute::Int(-1)), ("epsilon", Attribute::Float(epsilon))];
        Ok(self.add(OP, &[x, weight], x.dtype(), x.shape().clone(), attributes))
    }

    /// Checks that `parameter` is one number for each of `x`'s channels, its last dimension.
    pub(crate) fn check_channels(
        &self,
        op: &'static str,
        x: &Value,
        parameter: &Value,
    ) -> Result<(), Error> {
        let fits = x.dtype() == parameter.dtype()
            && parameter.shape().rank() == 1
            && x.shape().dims().last() == parameter.shape().dims().last();
        match fits {
            true => Ok(()),
            false => Err(self.fault(
                op,
                format!("x is {}, a parameter is {}", x.describe(), parameter.describe()),
            )),
        }
    }
}
