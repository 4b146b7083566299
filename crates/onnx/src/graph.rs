//! The graph builder: values, nodes, names, and the place in the model.

use std::collections::HashMap;
use std::sync::Arc;

use crate::attribute::Attribute;
use crate::proto::NodeProto;
use crate::{DType, Error, Function, Opset, Shape};

/// A value of a graph: cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    name: Arc<str>,
    dtype: DType,
    shape: Shape,
}

impl Value {
    /// The value's name in the graph.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Its shape.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Type and shape, for messages.
    pub(crate) fn describe(&self) -> String {
        format!("{} {}", self.dtype, self.shape)
    }
}

/// A constant whose bytes lie in the external data file, in the order of declaration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Initializer {
    /// Name in the graph.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Sizes.
    pub shape: Vec<usize>,
}

impl Initializer {
    /// Bytes of the tensor.
    pub fn num_bytes(&self) -> u64 {
        self.shape.iter().product::<usize>() as u64 * self.dtype.size() as u64
    }
}

/// Builds a graph node by node; every method of an operator checks its operands and gives its
/// result with dtype and shape (see `ops/`).
#[derive(Debug, Default, PartialEq)]
pub struct GraphBuilder {
    opset: Opset,
    pub(crate) inputs: Vec<Value>,
    pub(crate) outputs: Vec<Value>,
    pub(crate) nodes: Vec<NodeProto>,
    pub(crate) values: Vec<Value>,
    pub(crate) initializers: Vec<Initializer>,
    pub(crate) functions: Vec<Function>,
    place: Vec<String>,
    names: HashMap<String, usize>,
    renames: HashMap<String, String>,
}

impl GraphBuilder {
    /// An empty graph in operators of the default version.
    pub fn new() -> Self {
        GraphBuilder::default()
    }

    /// An empty graph in operators of version `opset`.
    pub fn with_opset(opset: Opset) -> Self {
        GraphBuilder { opset, ..GraphBuilder::default() }
    }

    /// The version of the operators.
    pub fn opset(&self) -> Opset {
        self.opset
    }

    /// An error where the operator is not in the graph's version.
    pub(crate) fn needs(&self, op: &'static str, first: Opset) -> Result<(), Error> {
        let (has, first) = (self.opset.version(), first.version());
        match has >= first {
            true => Ok(()),
            false => Err(self.fault(op, format!("needs opset {first}, the graph is of {has}"))),
        }
    }

    /// Enters a part of the model, until [`GraphBuilder::leave`]. Parts nest, and join with dots in
    /// names and messages: `layers[3]` in `vision` is `vision.layers[3]`.
    pub fn enter(&mut self, part: impl Into<String>) {
        self.place.push(part.into());
    }

    /// Leaves the part entered last.
    pub fn leave(&mut self) {
        self.place.pop();
    }

    /// The place in the model, for example `connector.expert[2].fc1`.
    pub fn place(&self) -> String {
        self.place.join(".")
    }

    /// Declares an input.
    ///
    /// # Errors
    /// [`Error::DuplicateName`].
    pub fn input(
        &mut self,
        name: &str,
        dtype: DType,
        shape: impl Into<Shape>,
    ) -> Result<Value, Error> {
        let value = self.named(name, dtype, shape.into())?;
        self.inputs.push(value.clone());
        Ok(value)
    }

    /// Declares a constant whose bytes lie in the external data file.
    ///
    /// # Errors
    /// [`Error::DuplicateName`].
    pub fn initializer(
        &mut self,
        name: &str,
        dtype: DType,
        shape: &[usize],
    ) -> Result<Value, Error> {
        let value = self.named(name, dtype, Shape::from(shape))?;
        self.initializers.push(Initializer { name: name.to_owned(), dtype, shape: shape.to_vec() });
        Ok(value)
    }

    /// Makes a value an output under another name, and checks it against the type and shape it is
    /// to have.
    ///
    /// # Errors
    /// [`Error::Output`], [`Error::DuplicateName`].
    pub fn output(
        &mut self,
        name: &str,
        value: &Value,
        dtype: DType,
        shape: impl Into<Shape>,
    ) -> Result<(), Error> {
        let wanted = shape.into();
        if value.dtype != dtype || value.shape != wanted {
            return Err(Error::Output {
                place: self.place(),
                name: name.to_owned(),
                found_dtype: value.dtype,
                found: value.shape.clone(),
                wanted_dtype: dtype,
                wanted,
            });
        }
        let output = self.named(name, dtype, wanted)?;
        let made_by_a_node = self.values.iter().any(|known| known.name == value.name);
        if made_by_a_node && !self.renames.contains_key(value.name()) {
            self.renames.insert(value.name().to_owned(), name.to_owned());
        } else {
            let node = self.node_proto("Identity", "", &[value.name()], &[name], vec![]);
            self.nodes.push(node);
        }
        self.outputs.push(output);
        Ok(())
    }

    /// Gives the values that became outputs their names: without a node in between, an output can
    /// be the memory that its operator writes.
    pub(crate) fn apply_renames(&mut self) {
        let renames = std::mem::take(&mut self.renames);
        for node in &mut self.nodes {
            for name in node.input.iter_mut().chain(&mut node.output) {
                if let Some(new) = renames.get(name.as_str()) {
                    new.clone_into(name);
                }
            }
        }
        self.values.retain(|value| !renames.contains_key(value.name()));
    }

    /// Claims a name that must be free.
    fn named(&mut self, name: &str, dtype: DType, shape: Shape) -> Result<Value, Error> {
        // Counted as given once, so that a node of this name gets a number.
        match self.names.insert(name.to_owned(), 1) {
            None => Ok(Value { name: name.into(), dtype, shape }),
            Some(_) => Err(Error::DuplicateName { place: self.place(), name: name.to_owned() }),
        }
    }

    /// A free name: the place, the operator, and a number where that is taken.
    fn fresh_name(&mut self, op: &str) -> String {
        let place = self.place();
        let base = if place.is_empty() { op.to_owned() } else { format!("{place}/{op}") };
        let count = self.names.entry(base.clone()).or_insert(0);
        *count += 1;
        match *count {
            1 => base,
            _ => {
                let numbered = format!("{base}_{count}");
                self.names.insert(numbered.clone(), 1);
                numbered
            }
        }
    }

    /// Adds a checked node with the given results and gives them back as values.
    pub(crate) fn add_node(
        &mut self,
        op: &str,
        domain: &str,
        inputs: &[&str],
        results: Vec<(DType, Shape)>,
        attributes: Vec<(&str, Attribute)>,
    ) -> Vec<Value> {
        let outputs: Vec<Value> = results
            .into_iter()
            .map(|(dtype, shape)| Value { name: self.fresh_name(op).into(), dtype, shape })
            .collect();
        let names: Vec<&str> = outputs.iter().map(Value::name).collect();
        let node = self.node_proto(op, domain, inputs, &names, attributes);
        self.nodes.push(node);
        self.values.extend(outputs.iter().cloned());
        outputs
    }

    /// [`GraphBuilder::add_node`] for a node of the standard operators with one result.
    pub(crate) fn add(
        &mut self,
        op: &'static str,
        inputs: &[&Value],
        dtype: DType,
        shape: impl Into<Shape>,
        attributes: Vec<(&str, Attribute)>,
    ) -> Value {
        let names: Vec<&str> = inputs.iter().map(|value| value.name()).collect();
        self.add_node(op, "", &names, vec![(dtype, shape.into())], attributes).remove(0)
    }

    fn node_proto(
        &self,
        op: &str,
        domain: &str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: Vec<(&str, Attribute)>,
    ) -> NodeProto {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        NodeProto {
            input: owned(inputs),
            output: owned(outputs),
            name: outputs.first().map(|name| format!("{name}:node")),
            op_type: Some(op.to_owned()),
            domain: (!domain.is_empty()).then(|| domain.to_owned()),
            attribute: attributes
                .into_iter()
                .map(|(name, attribute)| attribute.into_proto(name))
                .collect(),
            doc_string: None,
        }
    }

    /// An error about a node of this operator, at this place.
    pub(crate) fn fault(&self, op: &'static str, problem: impl Into<String>) -> Error {
        Error::Node { place: self.place(), op, problem: problem.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_matrix_fails_with_its_place_in_the_model() {
        let mut g = GraphBuilder::new();
        let x = g.input("x", DType::F32, [2, 64]).unwrap();
        let weight = g.initializer("w", DType::F32, &[63, 8]).unwrap();
        for part in ["connector", "expert[2]", "fc1"] {
            g.enter(part);
        }
        let message = g.matmul(&x, &weight).unwrap_err().to_string();
        assert!(message.starts_with("connector.expert[2].fc1: MatMul"), "{message}");
        assert!(message.contains("64") && message.contains("63"), "{message}");
    }

    #[test]
    fn names_are_given_once_also_where_a_node_would_take_an_inputs() {
        let mut g = GraphBuilder::new();
        let x = g.input("Sqrt", DType::F32, [2]).unwrap();
        let (once, twice) = (g.sqrt(&x), g.sqrt(&x));
        assert_ne!(once.name(), x.name());
        assert_ne!(once.name(), twice.name());
        assert!(matches!(g.input("Sqrt", DType::F32, [2]), Err(Error::DuplicateName { .. })));
    }

    #[test]
    fn an_output_of_another_shape_or_type_is_refused() {
        let mut g = GraphBuilder::new();
        let x = g.input("x", DType::F32, [2]).unwrap();
        let y = g.sqrt(&x);
        assert!(matches!(g.output("y", &y, DType::F32, [3]), Err(Error::Output { .. })));
        assert!(matches!(g.output("y", &y, DType::F16, [2]), Err(Error::Output { .. })));
        g.output("y", &y, DType::F32, [2]).unwrap();
    }
}
