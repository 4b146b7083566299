//! `ai.cumo.MoE`, version 1, and its two bodies in standard operators.

use cumo_checkpoint::model::{Mlp, Moe};
use cumo_onnx::{DType, Dim, Error, Function, GraphBuilder, Opset, To, Value, dims};

use super::DOMAIN;
use crate::activation::Activation;
use crate::weight::matrix;

/// The operator's name.
pub const MOE: &str = "MoE";

const DOC: &str = "MoE(x [.., in], weights [.., k], experts [.., k], for each expert: fc1 \
[in, hidden], its bias, up [in, hidden] where gated, fc2 [hidden, out], its bias; matrices the \
other way round where transposed) -> y [.., out]: the sum over the chosen experts of weight * fc2(act(fc1 x)), or where gated of weight * \
fc2(act(fc1 x) * up x).";

/// How a body computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// Each expert on the rows that chose it.
    Sparse,
    /// Every expert on every row, times zero where it was not chosen: for runtimes without
    /// NonZero, and to compare with.
    Dense,
}

/// What a body depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MoeShape {
    /// Experts.
    pub num_experts: usize,
    /// Experts that each row is sent to.
    pub num_experts_per_tok: usize,
    /// Channels in.
    pub inputs: usize,
    /// Channels between the layers.
    pub hidden: usize,
    /// Channels out.
    pub outputs: usize,
    /// Whether there is an `up` matrix.
    pub gated: bool,
    /// Whether the layers have biases.
    pub biased: bool,
    /// Whether matrices are `[out, in]`, which TensorRT multiplies a row with as they are, rather
    /// than `[in, out]`.
    pub transposed: bool,
    /// The non-linearity.
    pub activation: Activation,
    /// The type of x and of the experts' tensors.
    pub dtype: DType,
}

impl MoeShape {
    /// The shape of a checkpoint's mixture, of matrices `[in, out]`.
    ///
    /// # Errors
    /// [`Error::Node`] for a mixture without experts, or whose experts are not alike.
    pub fn of(moe: &Moe, activation: Activation, dtype: DType) -> Result<MoeShape, Error> {
        let shape = |expert: &Mlp| {
            let ((hidden, inputs), (outputs, _)) =
                (matrix(&expert.fc1.weight), matrix(&expert.fc2.weight));
            MoeShape {
                num_experts: moe.experts.len(),
                num_experts_per_tok: moe.num_experts_per_tok,
                inputs,
                hidden,
                outputs,
                gated: expert.up.is_some(),
                biased: expert.fc1.bias.is_some(),
                transposed: false,
                activation,
                dtype,
            }
        };
        let mut shapes = moe.experts.iter().map(shape);
        let fault = |problem: &str| Error::Node {
            place: moe.gate.name().to_owned(),
            op: MOE,
            problem: problem.to_owned(),
        };
        let first = shapes.next().ok_or_else(|| fault("there are no experts"))?;
        match shapes.all(|shape| shape == first) {
            true => Ok(first),
            false => Err(fault("the experts are not alike")),
        }
    }
}

/// The function with one of its bodies, for `x` `[batch, tokens, in]`.
///
/// # Errors
/// None for a shape that [`MoeShape::of`] gave.
pub fn function(opset: Opset, shape: &MoeShape, body: Body) -> Result<Function, Error> {
    let attributes = ["activation", "gated", "transposed"];
    let attributes = &attributes[..if shape.transposed { 3 } else { 2 }];
    Function::build(opset, DOMAIN, MOE, attributes, DOC, |g| {
        let k = shape.num_experts_per_tok;
        let x = g.input("x", shape.dtype, dims!["batch", "tokens", shape.inputs])?;
        let weights = g.input("weights", DType::F32, dims!["batch", "tokens", k])?;
        let chosen = g.input("experts", DType::I64, dims!["batch", "tokens", k])?;
        let experts =
            (0..shape.num_experts).map(|i| Expert::input(g, i, shape)).collect::<Result<_, _>>()?;
        let rows = g.reshape(&x, &[To::Rest("rows".into()), To::Size(shape.inputs)])?;
        let routes = Routes {
            weights: g.reshape(&weights, &[To::Rest("rows".into()), To::Size(k)])?,
            chosen: g.reshape(&chosen, &[To::Rest("rows".into()), To::Size(k)])?,
        };
        let y = match body {
            Body::Sparse => sparse(g, &rows, &routes, experts, shape)?,
            Body::Dense => dense(g, &rows, &routes, experts, shape)?,
        };
        let sizes = g.shape_of(&x);
        let leading = g.slice(&sizes, 0, (0, Some(2)), Dim::Fixed(2))?;
        let channels = g.ints(&[shape.outputs as i64]);
        let sizes = g.concat(&[&leading, &channels], 0, Dim::Fixed(3))?;
        let y = g.cast(&y, shape.dtype);
        Ok(vec![g.reshape_to(&y, &sizes, dims!["batch", "tokens", shape.outputs])?])
    })
}

/// Where each row goes: `[rows, k]` each.
struct Routes {
    weights: Value,
    chosen: Value,
}

/// The operands of one expert.
struct Expert {
    fc1: Layer,
    up: Option<Layer>,
    fc2: Layer,
}

struct Layer {
    weight: Value,
    transposed: bool,
    bias: Option<Value>,
}

impl Expert {
    fn input(g: &mut GraphBuilder, index: usize, shape: &MoeShape) -> Result<Expert, Error> {
        let mut layer = |name: &str, rows: usize, columns: usize| {
            let name = format!("expert_{index}_{name}");
            let transposed = shape.transposed;
            let sizes = if transposed { [columns, rows] } else { [rows, columns] };
            let weight = g.input(&name, shape.dtype, sizes)?;
            let bias = match shape.biased {
                true => Some(g.input(&format!("{name}_bias"), shape.dtype, [columns])?),
                false => None,
            };
            Ok::<_, Error>(Layer { weight, transposed, bias })
        };
        let fc1 = layer("fc1", shape.inputs, shape.hidden)?;
        let up = match shape.gated {
            true => Some(layer("up", shape.inputs, shape.hidden)?),
            false => None,
        };
        Ok(Expert { fc1, up, fc2: layer("fc2", shape.hidden, shape.outputs)? })
    }

    fn apply(&self, g: &mut GraphBuilder, x: &Value, how: Activation) -> Result<Value, Error> {
        let hidden = self.fc1.apply(g, x)?;
        let mut hidden = how.apply(g, &hidden)?;
        if let Some(up) = &self.up {
            let gate = up.apply(g, x)?;
            hidden = g.mul(&hidden, &gate)?;
        }
        let hidden = g.cast(&hidden, x.dtype());
        self.fc2.apply(g, &hidden)
    }
}

impl Layer {
    /// The product in the operands' type; from there on all is f32 until the next product, as in
    /// kernels that add up in f32.
    fn apply(&self, g: &mut GraphBuilder, x: &Value) -> Result<Value, Error> {
        let product = match self.transposed {
            true => g.matmul_transposed(x, &self.weight)?,
            false => g.matmul(x, &self.weight)?,
        };
        let product = g.cast(&product, DType::F32);
        match &self.bias {
            Some(bias) => {
                let bias = g.cast(bias, DType::F32);
                g.add_values(&product, &bias)
            }
            None => Ok(product),
        }
    }
}

/// Gathers each expert's rows, and puts the results back with the inverse permutation: no sum is
/// scattered, so that it is the same in every run, and works in f16.
fn sparse(
    g: &mut GraphBuilder,
    rows: &Value,
    routes: &Routes,
    experts: Vec<Expert>,
    shape: &MoeShape,
) -> Result<Value, Error> {
    let k = shape.num_experts_per_tok;
    let flat = g.reshape(&routes.chosen, &[To::Rest("routes".into())])?;
    let per_row = g.scalar(DType::I64, k as f64);
    let (mut places, mut results) = (Vec::new(), Vec::new());
    for (index, expert) in experts.into_iter().enumerate() {
        let this = g.scalar(DType::I64, index as f64);
        let mine = g.equal(&flat, &this)?;
        let place = g.positions_of_true(&mine, &format!("routes_{index}"))?;
        let source = if k == 1 { place.clone() } else { g.div(&place, &per_row)? };
        let taken = g.gather_rows(rows, &source)?;
        results.push(expert.apply(g, &taken, shape.activation)?);
        places.push(place);
    }
    let by_expert = g.concat(&results.iter().collect::<Vec<_>>(), 0, "routes".into())?;
    let places = g.concat(&places.iter().collect::<Vec<_>>(), 0, "routes".into())?;
    let order = g.invert_permutation(&places)?;
    let by_route = g.gather_rows(&by_expert, &order)?;
    let parts = [To::Rest("rows".into()), To::Size(k), To::Size(shape.outputs)];
    let by_route = g.reshape(&by_route, &parts)?;
    let weights = g.unsqueeze(&routes.weights, &[2])?;
    let weighted = g.mul(&by_route, &weights)?;
    g.reduce_sum(&weighted, &[1], false)
}

/// Every expert on every row.
fn dense(
    g: &mut GraphBuilder,
    rows: &Value,
    routes: &Routes,
    experts: Vec<Expert>,
    shape: &MoeShape,
) -> Result<Value, Error> {
    let mut sum: Option<Value> = None;
    let nothing = g.scalar(DType::F32, 0.0);
    for (index, expert) in experts.into_iter().enumerate() {
        let this = g.scalar(DType::I64, index as f64);
        let mine = g.equal(&routes.chosen, &this)?;
        let weight = g.select(&mine, &routes.weights, &nothing)?;
        let weight = g.reduce_sum(&weight, &[1], true)?;
        let result = expert.apply(g, rows, shape.activation)?;
        let result = g.mul(&result, &weight)?;
        sum = Some(match sum {
            None => result,
            Some(before) => g.add_values(&before, &result)?,
        });
    }
    sum.ok_or_else(|| Error::Node {
        place: g.place(),
        op: MOE,
        problem: "there are no experts".to_owned(),
    })
}
