//! Operators that work on each element, with broadcasting.

use crate::attribute::Attribute;
use crate::{DType, Error, GraphBuilder, Opset, Value};

impl GraphBuilder {
    /// `left + right`.
    ///
    /// # Errors
    /// [`Error::Node`] where types differ or shapes do not broadcast; so for all of two operands.
    pub fn add_values(&mut self, left: &Value, right: &Value) -> Result<Value, Error> {
        self.binary("Add", left, right, None)
    }

    /// `left - right`.
    ///
    /// # Errors
    /// As [`GraphBuilder::add_values`].
    pub fn sub(&mut self, left: &Value, right: &Value) -> Result<Value, Error> {
        self.binary("Sub", left, right, None)
    }

    /// `left * right`.
    ///
    /// # Errors
    /// As [`GraphBuilder::add_values`].
    pub fn mul(&mut self, left: &Value, right: &Value) -> Result<Value, Error> {
        self.binary("Mul", left, right, None)
    }

    /// `left / right`; truncated for integers.
    ///
    /// # Errors
    /// As [`GraphBuilder::add_values`].
    pub fn div(&mut self, left: &Value, right: &Value) -> Result<Value, Error> {
        self.binary("Div", left, right, None)
    }

    /// `left == right`, bool.
    ///
    /// # Errors
    /// As [`GraphBuilder::add_values`].
    pub fn equal(&mut self, left: &Value, right: &Value) -> Result<Value, Error> {
        self.binary("Equal", left, right, Some(DType::Bool))
    }

    /// `left < right`, bool.
    ///
    /// # Errors
    /// As [`GraphBuilder::add_values`].
    pub fn less(&mut self, left: &Value, right: &Value) -> Result<Value, Error> {
        self.binary("Less", left, right, Some(DType::Bool))
    }

    /// `left <= right`, bool.
    ///
    /// # Errors
    /// As [`GraphBuilder::add_values`].
    pub fn less_or_equal(&mut self, left: &Value, right: &Value) -> Result<Value, Error> {
        self.binary("LessOrEqual", left, right, Some(DType::Bool))
    }

    /// `left && right`, both bool.
    ///
    /// # Errors
    /// As [`GraphBuilder::add_values`].
    pub fn and(&mut self, left: &Value, right: &Value) -> Result<Value, Error> {
        self.binary("And", left, right, None)
    }

    /// `x * factor`, for a number.
    ///
    /// # Errors
    /// As [`GraphBuilder::add_values`].
    pub fn scale(&mut self, x: &Value, factor: f64) -> Result<Value, Error> {
        let factor = self.scalar(x.dtype(), factor);
        self.mul(x, &factor)
    }

    /// `if condition { yes } else { no }`; `condition` is bool.
    ///
    /// # Errors
    /// As [`GraphBuilder::add_values`].
    pub fn select(&mut self, condition: &Value, yes: &Value, no: &Value) -> Result<Value, Error> {
        let fits = condition.dtype() == DType::Bool && yes.dtype() == no.dtype();
        let both = yes.shape().broadcast(no.shape());
        match both.and_then(|shape| shape.broadcast(condition.shape())).filter(|_| fits) {
            Some(shape) => Ok(self.add("Where", &[condition, yes, no], yes.dtype(), shape, vec![])),
            None => Err(self.fault(
                "Where",
                format!(
                    "condition {}, operands {} and {}",
                    condition.describe(),
                    yes.describe(),
                    no.describe()
                ),
            )),
        }
    }

    /// `1 / (1 + exp(-x))`.
    pub fn sigmoid(&mut self, x: &Value) -> Value {
        self.unary("Sigmoid", x)
    }

    /// The error function.
    pub fn erf(&mut self, x: &Value) -> Value {
        self.unary("Erf", x)
    }

    /// Square root.
    pub fn sqrt(&mut self, x: &Value) -> Value {
        self.unary("Sqrt", x)
    }

    /// Sine.
    pub fn sin(&mut self, x: &Value) -> Value {
        self.unary("Sin", x)
    }

    /// Cosine.
    pub fn cos(&mut self, x: &Value) -> Value {
        self.unary("Cos", x)
    }

    /// `x * sigmoid(alpha x)`.
    ///
    /// # Errors
    /// [`Error::Node`] before opset 24.
    pub fn swish(&mut self, x: &Value, alpha: f32) -> Result<Value, Error> {
        self.needs("Swish", Opset::V24)?;
        let attributes = vec![("alpha", Attribute::Float(alpha))];
        Ok(self.add("Swish", &[x], x.dtype(), x.shape().clone(), attributes))
    }

    /// `x / 2 * (1 + erf(x / sqrt 2))`.
    ///
    /// # Errors
    /// [`Error::Node`] before opset 20.
    pub fn gelu(&mut self, x: &Value) -> Result<Value, Error> {
        self.needs("Gelu", Opset::V24)?;
        Ok(self.unary("Gelu", x))
    }

    /// `x` in another type; `x` itself where it has it.
    pub fn cast(&mut self, x: &Value, dtype: DType) -> Value {
        if x.dtype() == dtype {
            return x.clone();
        }
        let to = vec![("to", Attribute::Int(i64::from(dtype.code())))];
        self.add("Cast", &[x], dtype, x.shape().clone(), to)
    }

    fn unary(&mut self, op: &'static str, x: &Value) -> Value {
        self.add(op, &[x], x.dtype(), x.shape().clone(), vec![])
    }

    fn binary(
        &mut self,
        op: &'static str,
        left: &Value,
        right: &Value,
        result: Option<DType>,
    ) -> Result<Value, Error> {
        let same = left.dtype() == right.dtype();
        match left.shape().broadcast(right.shape()).filter(|_| same) {
            Some(shape) => {
                let dtype = result.unwrap_or(left.dtype());
                Ok(self.add(op, &[left, right], dtype, shape, vec![]))
            }
            None => Err(self
                .fault(op, format!("left is {}, right is {}", left.describe(), right.describe()))),
        }
    }
}
