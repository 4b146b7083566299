//! Model-local functions: operators of our own whose bodies are standard ONNX.

use crate::attribute::Attribute;
use crate::proto::{FunctionProto, OperatorSetIdProto};
use crate::{DType, Error, GraphBuilder, Opset, Shape, Value};

/// A function with a body, for calls whose operands have the types and ranks it was built with.
#[derive(Debug, Clone, PartialEq)]
pub struct Function {
    pub(crate) proto: FunctionProto,
}

impl Function {
    /// Builds a function of the domain `domain` in standard operators of `opset`, which must be that
    /// of the models that call it. `build` declares the inputs with
    /// [`GraphBuilder::input`], in order, and gives the results; constants in it are nodes, since
    /// a function has no initializers. `attributes` are the names a call may set.
    ///
    /// # Errors
    /// Those of `build`, and [`Error::Node`] where it declared initializers.
    pub fn build(
        opset: Opset,
        domain: &str,
        name: &'static str,
        attributes: &[&str],
        doc: &str,
        build: impl FnOnce(&mut GraphBuilder) -> Result<Vec<Value>, Error>,
    ) -> Result<Function, Error> {
        let mut body = GraphBuilder::with_opset(opset);
        body.enter(name);
        let results = build(&mut body)?;
        if let Some(initializer) = body.initializers.first() {
            let problem = format!("a function cannot hold the initializer `{}`", initializer.name);
            return Err(body.fault(name, problem));
        }
        let opset =
            OperatorSetIdProto { domain: Some(String::new()), version: Some(opset.version()) };
        let proto = FunctionProto {
            name: Some(name.to_owned()),
            domain: Some(domain.to_owned()),
            input: body.inputs.iter().map(|value| value.name().to_owned()).collect(),
            output: results.iter().map(|value| value.name().to_owned()).collect(),
            attribute: attributes.iter().map(|name| (*name).to_owned()).collect(),
            node: body.nodes,
            doc_string: Some(doc.to_owned()),
            opset_import: vec![opset],
        };
        Ok(Function { proto })
    }

    fn name(&self) -> &str {
        self.proto.name()
    }

    fn domain(&self) -> &str {
        self.proto.domain()
    }
}

impl GraphBuilder {
    /// Calls a function, and takes its body into the model. The caller says what the results are:
    /// a body is built once for all calls.
    ///
    /// # Errors
    /// [`Error::Node`] where the number of operands is not the body's, an attribute is not one of
    /// the function's, another body of this name is in the model, or the body is of another opset.
    pub fn call(
        &mut self,
        function: &Function,
        operands: &[&Value],
        attributes: Vec<(&str, Attribute)>,
        results: Vec<(DType, Shape)>,
    ) -> Result<Vec<Value>, Error> {
        let proto = &function.proto;
        let fault = |problem: String| Err(Error::Node { place: self.place(), op: "call", problem });
        if proto.input.len() != operands.len() || proto.output.len() != results.len() {
            return fault(format!(
                "{} takes {} operands and gives {}, called with {} for {}",
                function.name(),
                proto.input.len(),
                proto.output.len(),
                operands.len(),
                results.len()
            ));
        }
        if let Some((name, _)) =
            attributes.iter().find(|(name, _)| !proto.attribute.iter().any(|known| known == name))
        {
            return fault(format!("{} has no attribute `{name}`", function.name()));
        }
        let opset = proto.opset_import.first().map_or(0, OperatorSetIdProto::version);
        if opset != self.opset().version() {
            return fault(format!("{} is in operators of version {opset}", function.name()));
        }
        let same_name = self
            .functions
            .iter()
            .find(|known| known.name() == function.name() && known.domain() == function.domain());
        match same_name {
            None => self.functions.push(function.clone()),
            Some(known) if known == function => {}
            Some(_) => {
                return fault(format!("two bodies of the name {} in one model", function.name()));
            }
        }
        let names: Vec<&str> = operands.iter().map(|value| value.name()).collect();
        Ok(self.add_node(function.name(), function.domain(), &names, results, attributes))
    }
}
