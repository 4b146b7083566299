//! Products with matrices of the checkpoint, spelled as the target wants them.

use cumo_checkpoint::Tensor;
use cumo_checkpoint::model::Linear;
use cumo_onnx::{DType, Dim, To, Value};

use super::ModelBuilder;
use crate::error::Error;
use crate::weight::{Source, Weight};

/// The rows of a product, where their number is not known.
const ROWS: &str = "rows";

impl ModelBuilder<'_> {
    /// `x W^T + b`, of the type between products.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn linear(&mut self, x: &Value, linear: &Linear) -> Result<Value, Error> {
        self.product(x, linear.weight.name(), &[linear])
    }

    /// Several linear layers of the same `x`, each under its name: as one matrix product with the
    /// matrices side by side, called `together`, where the target wants it so.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn projections<const N: usize>(
        &mut self,
        x: &Value,
        together: &str,
        layers: [(&str, &Linear); N],
    ) -> Result<[Value; N], Error> {
        let mut results = Vec::with_capacity(N);
        if self.target.is_for_engines() {
            let parts = layers.map(|(_, layer)| layer);
            let name = sibling(parts[0].weight.name(), together);
            let all = self.scope(together, |b| b.product(x, &name, &parts))?;
            let sizes = parts.map(|part| part.weight.shape().first().copied().unwrap_or(0));
            let axis = all.shape().rank().saturating_sub(1);
            results = self.g.split(&all, axis, &sizes)?;
        } else {
            let x = self.g.cast(x, self.dtype);
            for (name, layer) in layers {
                results.push(self.scope(name, |b| b.linear(&x, layer))?);
            }
        }
        results.try_into().map_err(|_| {
            let problem = "results are missing".to_owned();
            cumo_onnx::Error::Node { place: self.g.place(), op: "Split", problem }.into()
        })
    }

    /// `x W^T + b` for the rows of all layers, of which all or none have biases.
    fn product(&mut self, x: &Value, name: &str, layers: &[&Linear]) -> Result<Value, Error> {
        let weights: Vec<&Tensor> = layers.iter().map(|layer| &layer.weight).collect();
        let product = self.times(x, name, &weights, self.types.between)?;
        let biases: Vec<Tensor> = layers.iter().filter_map(|layer| layer.bias.clone()).collect();
        if biases.is_empty() {
            return Ok(product);
        }
        // Small, so nothing is saved by storing them in less than what they are added in.
        let dtype = match self.types.between == self.types.product {
            true => self.types.stored,
            false => self.types.between,
        };
        let name = format!("{}.bias", name.strip_suffix(".weight").unwrap_or(name));
        let bias = self.weight(&name, Weight { source: Source::Joined(biases), dtype })?;
        let bias = self.g.cast(&bias, self.types.between);
        Ok(self.g.add_values(&product, &bias)?)
    }

    /// `x W^T` of `x` `[.., in]` and matrices `[out, in]` of the checkpoint one below the other, as
    /// `result`.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn times(
        &mut self,
        x: &Value,
        name: &str,
        parts: &[&Tensor],
        result: DType,
    ) -> Result<Value, Error> {
        // Casts stand next to products: a runtime that adds up in f32 need not round in between.
        if self.target.is_for_engines() {
            let matrix = self.stacked(name, parts)?;
            let rows = self.rows_of(x)?;
            let rows = self.g.cast(&rows, self.dtype);
            let product = self.g.matmul_transposed(&rows, &matrix)?;
            let product = self.g.cast(&product, result);
            return self.with_rows_of(x, &product);
        }
        let matrix = self.matrix(name, parts)?;
        let x = self.g.cast(x, self.dtype);
        let product = self.g.matmul(&x, &matrix)?;
        Ok(self.g.cast(&product, result))
    }

    /// `[rows, channels]` of `x` `[.., channels]`.
    fn rows_of(&mut self, x: &Value) -> Result<Value, Error> {
        let Some((Some(channels), leading)) =
            x.shape().dims().split_last().map(|(last, leading)| (last.fixed(), leading))
        else {
            let problem = format!("a value of shape {} has no rows", x.shape());
            return Err(
                cumo_onnx::Error::Node { place: self.g.place(), op: "Gemm", problem }.into()
            );
        };
        let rows = match leading.iter().map(Dim::fixed).product() {
            Some(rows) => To::Size(rows),
            None => To::Rest(ROWS.into()),
        };
        Ok(self.g.reshape(x, &[rows, To::Size(channels)])?)
    }

    /// `[.., channels]` of `rows` `[rows, channels]`, with the leading dimensions of `x`.
    fn with_rows_of(&mut self, x: &Value, rows: &Value) -> Result<Value, Error> {
        let channels = rows.shape().dims().last().and_then(Dim::fixed).unwrap_or_default();
        let leading = x.shape().dims().split_last().map(|(_, leading)| leading.to_vec());
        let mut dims = leading.unwrap_or_default();
        if dims.iter().filter(|dim| dim.fixed().is_none()).count() > 1 {
            let leading = self.g.leading_sizes_of(x)?;
            let last = self.g.ints(&[channels as i64]);
            let sizes = self.g.concat(&[&leading, &last], 0, Dim::Fixed(dims.len() + 1))?;
            dims.push(Dim::Fixed(channels));
            return Ok(self.g.reshape_to(rows, &sizes, dims)?);
        }
        let size = |dim: Dim| dim.fixed().map_or(To::Rest(dim), To::Size);
        let to: Vec<To> = dims.into_iter().map(size).chain([To::Size(channels)]).collect();
        Ok(self.g.reshape(rows, &to)?)
    }
}

/// The weight of a layer beside the one of `weight`: `a.q_proj.weight` and `qkv_proj` give
/// `a.qkv_proj.weight`.
fn sibling(weight: &str, layer: &str) -> String {
    let module = weight
        .rsplit('.')
        .nth(1)
        .map_or("", |layer| weight.strip_suffix(&format!("{layer}.weight")).unwrap_or_default());
    format!("{module}{layer}.weight")
}
