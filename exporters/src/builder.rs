//! A graph under construction together with the weights it needs.

use cumo_bundle::names;
use cumo_checkpoint::Tensor;
use cumo_checkpoint::model::Linear;
use cumo_onnx::{DType, GraphBuilder, Value};

use crate::error::Error;
use crate::target::Target;
use crate::weight::{Elements, Source, Weight};

/// What every module of the model is given to build itself with.
pub struct ModelBuilder<'a> {
    /// The graph so far.
    pub g: GraphBuilder,
    /// The type of what goes into matrix products. Residuals, norms and routing are f32 whatever it
    /// is.
    pub dtype: DType,
    /// The type of weights in the file.
    stored: DType,
    /// How operators are spelled.
    pub target: &'a dyn Target,
    weights: Vec<Weight>,
    routers: Option<Vec<Router>>,
}

/// A router's probabilities and choices, kept to become outputs.
struct Router {
    module: String,
    probs: Value,
    experts: Value,
}

impl<'a> ModelBuilder<'a> {
    /// An empty graph that computes in `dtype` with weights stored as `stored`; with
    /// `debug_outputs`, routers become outputs.
    pub fn new(dtype: DType, stored: DType, target: &'a dyn Target, debug_outputs: bool) -> Self {
        ModelBuilder {
            g: GraphBuilder::new(),
            dtype,
            stored,
            target,
            weights: Vec::new(),
            routers: debug_outputs.then(Vec::new),
        }
    }

    /// Builds a part of the model under its name.
    ///
    /// # Errors
    /// Those of `build`.
    pub fn scope<T>(
        &mut self,
        part: impl Into<String>,
        build: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.g.enter(part);
        let result = build(self);
        self.g.leave();
        result
    }

    /// A tensor of the checkpoint, in the part's type.
    ///
    /// # Errors
    /// A name that is taken.
    pub fn tensor(&mut self, tensor: &Tensor) -> Result<Value, Error> {
        let value = self.stored(tensor)?;
        Ok(self.g.cast(&value, self.dtype))
    }

    /// A tensor of the checkpoint, in the type that weights are stored in.
    ///
    /// # Errors
    /// A name that is taken.
    pub fn stored(&mut self, tensor: &Tensor) -> Result<Value, Error> {
        let source = Source::AsIs(tensor.clone());
        self.weight(tensor.name(), Weight { source, dtype: self.stored })
    }

    /// A tensor of the checkpoint, stored and used as f32: for the small ones outside of matrix
    /// products.
    ///
    /// # Errors
    /// A name that is taken.
    pub fn tensor_f32(&mut self, tensor: &Tensor) -> Result<Value, Error> {
        let source = Source::AsIs(tensor.clone());
        self.weight(tensor.name(), Weight { source, dtype: DType::F32 })
    }

    /// Matrices `[out, in]` of the checkpoint, one below the other, as one `[in, out]` in the
    /// part's type.
    ///
    /// # Errors
    /// A name that is taken.
    pub fn matrix(&mut self, name: &str, parts: &[&Tensor]) -> Result<Value, Error> {
        let source = Source::Transposed(parts.iter().map(|part| (*part).clone()).collect());
        let value = self.weight(name, Weight { source, dtype: self.stored })?;
        Ok(self.g.cast(&value, self.dtype))
    }

    /// A matrix `[out, in]` of the checkpoint as `[in, out]`, stored and used as f32.
    ///
    /// # Errors
    /// A name that is taken.
    pub fn matrix_f32(&mut self, matrix: &Tensor) -> Result<Value, Error> {
        let source = Source::Transposed(vec![matrix.clone()]);
        self.weight(matrix.name(), Weight { source, dtype: DType::F32 })
    }

    /// Numbers that follow from the configuration.
    ///
    /// # Errors
    /// A name that is taken.
    pub fn computed(
        &mut self,
        name: &str,
        elements: Elements,
        shape: &[usize],
        dtype: DType,
    ) -> Result<Value, Error> {
        let source = Source::Computed { elements, shape: shape.to_vec() };
        self.weight(name, Weight { source, dtype })
    }

    fn weight(&mut self, name: &str, weight: Weight) -> Result<Value, Error> {
        if let Source::Transposed(parts) = &weight.source
            && let Some(odd) = parts.iter().find(|part| {
                part.shape().len() != 2 || part.shape().last() != parts[0].shape().last()
            })
        {
            let problem = format!("`{}` {:?} is no matrix of its width", odd.name(), odd.shape());
            let place = self.g.place();
            return Err(cumo_onnx::Error::Node { place, op: "MatMul", problem }.into());
        }
        let value = self.g.initializer(name, weight.dtype, &weight.shape())?;
        self.weights.push(weight);
        Ok(value)
    }

    /// `x W^T + b`, in the part's type.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn linear(&mut self, x: &Value, linear: &Linear) -> Result<Value, Error> {
        let weight = &linear.weight;
        let matrix = self.matrix(weight.name(), &[weight])?;
        let x = self.g.cast(x, self.dtype);
        let product = self.g.matmul(&x, &matrix)?;
        match &linear.bias {
            None => Ok(product),
            Some(bias) => {
                let bias = self.tensor(bias)?;
                Ok(self.g.add_values(&product, &bias)?)
            }
        }
    }

    /// A branch's result added to the residual, in the residual's type.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn add_residual(&mut self, x: &Value, residual: &Value) -> Result<Value, Error> {
        let x = self.g.cast(x, residual.dtype());
        Ok(self.g.add_values(&x, residual)?)
    }

    /// Keeps a router's probabilities and choices as outputs, where they were asked for. `module`
    /// is the router's name in the checkpoint.
    pub fn keep_router(&mut self, module: &str, logits: &Value, experts: &Value) {
        let Some(routers) = &mut self.routers else { return };
        let probs = self.g.softmax(logits);
        routers.push(Router { module: module.to_owned(), probs, experts: experts.clone() });
    }

    /// Ends the building: the graph and, in the order of its initializers, the weights.
    ///
    /// # Errors
    /// A name that is taken.
    pub fn finish(mut self) -> Result<(cumo_onnx::Graph, Vec<Weight>), Error> {
        for Router { module, probs, experts } in self.routers.take().unwrap_or_default() {
            for (name, value) in
                [(names::router_probs(&module), probs), (names::router_experts(&module), experts)]
            {
                self.g.output(&name, &value, value.dtype(), value.shape().clone())?;
            }
        }
        Ok((self.g.finish(), self.weights))
    }
}
