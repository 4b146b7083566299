//! A graph under construction together with the weights it needs.

mod product;

use cumo_bundle::names;
use cumo_checkpoint::Tensor;
use cumo_onnx::{DType, GraphBuilder, Value};

use crate::error::Error;
use crate::target::Target;
use crate::weight::{Elements, Source, Weight};

/// The types of a graph. Residuals, norms and routing are f32 whatever they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Types {
    /// What goes into matrix products.
    pub product: DType,
    /// What comes out of them: biases are added and activations computed in it.
    pub between: DType,
    /// Weights in the file.
    pub stored: DType,
}

/// What a graph's weights are to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WeightsAs {
    /// Constants, in a file beside the graph.
    Constants,
    /// Inputs, for a graph that runs more than once with different ones.
    Inputs {
        /// The module of the checkpoint that the graph is built of; its name and a dot are cut off
        /// the front of the weights' names, so that graphs of modules that are alike are equal.
        module: String,
    },
}

/// What graphs give of their routers beside what a model needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RouterOutputs {
    /// Nothing.
    None,
    /// The experts that each token is sent to: whole numbers, a few a token.
    #[default]
    Choices,
    /// These, and the probabilities of all experts.
    All,
}

/// What every module of the model is given to build itself with.
pub struct ModelBuilder<'a> {
    /// The graph so far.
    pub g: GraphBuilder,
    /// The type of what goes into matrix products.
    pub dtype: DType,
    types: Types,
    /// How operators are spelled.
    pub target: &'a dyn Target,
    weights_as: WeightsAs,
    weights: Vec<NamedWeight>,
    router_outputs: RouterOutputs,
    routers: Vec<Router>,
}

/// A weight of a graph.
#[derive(Debug, Clone)]
pub struct NamedWeight {
    /// The constant's or input's name.
    pub local: String,
    /// The name in the whole model.
    pub name: String,
    /// What it is made of.
    pub weight: Weight,
}

/// A finished graph.
pub struct Built {
    /// The graph.
    pub graph: cumo_onnx::Graph,
    /// Its weights, in the order of its constants or weight inputs.
    pub weights: Vec<NamedWeight>,
    /// Outputs with what routers computed, and their names in the whole model.
    pub routers: Vec<(String, String)>,
}

/// A router's choices and, where they are wanted, probabilities, kept to become outputs.
struct Router {
    module: String,
    probs: Option<Value>,
    experts: Value,
}

impl<'a> ModelBuilder<'a> {
    /// An empty graph.
    pub fn new(
        types: Types,
        weights_as: WeightsAs,
        target: &'a dyn Target,
        router_outputs: RouterOutputs,
    ) -> Self {
        ModelBuilder {
            g: GraphBuilder::with_opset(target.opset()),
            dtype: types.product,
            types,
            target,
            weights_as,
            weights: Vec::new(),
            router_outputs,
            routers: Vec::new(),
        }
    }

    /// The type of what comes out of matrix products.
    pub fn between(&self) -> DType {
        self.types.between
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
        let source = Source::Joined(vec![tensor.clone()]);
        self.weight(tensor.name(), Weight { source, dtype: self.types.stored })
    }

    /// A tensor of the checkpoint, stored and used as f32: for the small ones outside of matrix
    /// products.
    ///
    /// # Errors
    /// A name that is taken.
    pub fn tensor_f32(&mut self, tensor: &Tensor) -> Result<Value, Error> {
        let source = Source::Joined(vec![tensor.clone()]);
        self.weight(tensor.name(), Weight { source, dtype: DType::F32 })
    }

    /// Matrices `[out, in]` of the checkpoint, one below the other, as one `[in, out]` in the
    /// part's type.
    ///
    /// # Errors
    /// A name that is taken.
    pub fn matrix(&mut self, name: &str, parts: &[&Tensor]) -> Result<Value, Error> {
        let source = Source::Transposed(parts.iter().map(|part| (*part).clone()).collect());
        let value = self.weight(name, Weight { source, dtype: self.types.stored })?;
        Ok(self.g.cast(&value, self.dtype))
    }

    /// Matrices `[out, in]` of the checkpoint, one below the other, as one `[out, in]` in the part's
    /// type.
    ///
    /// # Errors
    /// A name that is taken.
    pub fn stacked(&mut self, name: &str, parts: &[&Tensor]) -> Result<Value, Error> {
        let source = Source::Stacked(parts.iter().map(|part| (*part).clone()).collect());
        let value = self.weight(name, Weight { source, dtype: self.types.stored })?;
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
        if let Source::Transposed(parts) | Source::Stacked(parts) = &weight.source
            && let Some(odd) = parts
                .iter()
                .find(|part| part.shape().len() < 2 || part.shape()[1..] != parts[0].shape()[1..])
        {
            let problem = format!("`{}` {:?} is no matrix of its width", odd.name(), odd.shape());
            let place = self.g.place();
            return Err(cumo_onnx::Error::Node { place, op: "MatMul", problem }.into());
        }
        let local = self.local_name(name).to_owned();
        let value = match &self.weights_as {
            WeightsAs::Constants => self.g.initializer(&local, weight.dtype, &weight.shape())?,
            WeightsAs::Inputs { .. } => {
                self.g.input(&local, weight.dtype, weight.shape().as_slice())?
            }
        };
        self.weights.push(NamedWeight { local, name: name.to_owned(), weight });
        Ok(value)
    }

    /// A name of the checkpoint as the graph has it.
    fn local_name<'n>(&self, name: &'n str) -> &'n str {
        match &self.weights_as {
            WeightsAs::Constants => name,
            WeightsAs::Inputs { module } => name
                .strip_prefix(module.as_str())
                .and_then(|name| name.strip_prefix('.'))
                .unwrap_or(name),
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

    /// Keeps of a router as outputs what was asked for. `module` is its name in the checkpoint.
    pub fn keep_router(&mut self, module: &str, logits: &Value, experts: &Value) {
        let probs = match self.router_outputs {
            RouterOutputs::None => return,
            RouterOutputs::Choices => None,
            RouterOutputs::All => Some(self.g.softmax(logits)),
        };
        self.routers.push(Router { module: module.to_owned(), probs, experts: experts.clone() });
    }

    /// Ends the building.
    ///
    /// # Errors
    /// A name that is taken.
    pub fn finish(mut self) -> Result<Built, Error> {
        let mut routers = Vec::new();
        for Router { module, probs, experts } in std::mem::take(&mut self.routers) {
            let local = self.local_name(&module).to_owned();
            type Name = fn(&str) -> String;
            let probs = probs.map(|probs| (names::router_probs as Name, probs));
            let experts = (names::router_experts as Name, experts);
            for (name, value) in probs.into_iter().chain([experts]) {
                self.g.output(&name(&local), &value, value.dtype(), value.shape().clone())?;
                routers.push((name(&local), name(&module)));
            }
        }
        Ok(Built { graph: self.g.finish(), weights: self.weights, routers })
    }
}
