//! Model-local functions: operators of our own whose bodies are standard ONNX.

use crate::attribute::Attribute;
use crate::proto::{FunctionProto, OperatorSetIdProto};
use crate::{DType, Error, GraphBuilder, Opset, Shape, Value};

/// A function with a body, for calls whose operands have the types and ranks it was built with.
#[derive(Debug, Clone, PartialEq)]
pub struct Function {
    pub(crate) proto: FunctionProto,
    /// Type and rank of each input.
    inputs: Vec<(DType, usize)>,
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
        let inputs = body.inputs.iter().map(|value| (value.dtype(), value.shape().dims().len()));
        let inputs = inputs.collect();
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
        Ok(Function { proto, inputs })
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
    /// [`Error::Node`] where number, types or ranks of the operands are not the body's, an attribute
    /// is not one of the function's, another body of this name is in the model, or the body is of
    /// another opset.
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
        let differs = |((dtype, rank), value): (&(DType, usize), &&Value)| {
            value.dtype() != *dtype || value.shape().dims().len() != *rank
        };
        let differing = function.inputs.iter().zip(operands).position(differs);
        if let Some(index) = differing {
            let (dtype, rank) = function.inputs[index];
            return fault(format!(
                "`{}` of {} is {dtype} of {rank} dimensions, called with {}",
                proto.input[index],
                function.name(),
                operands[index].describe()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operands_of_other_types_or_ranks_than_the_bodys_are_refused() {
        let function = Function::build(Opset::V17, "ai.test", "Root", &[], "", |g| {
            let x = g.input("x", DType::F32, [2, 3])?;
            Ok(vec![g.sqrt(&x)])
        })
        .unwrap();
        let mut g = GraphBuilder::new();
        let fits = g.input("fits", DType::F32, [7, 8]).unwrap();
        let half = g.input("half", DType::F16, [2, 3]).unwrap();
        let flat = g.input("flat", DType::F32, [6]).unwrap();
        let mut call = |operands: &[&Value]| {
            g.call(&function, operands, vec![], vec![(DType::F32, [2, 3].into())])
        };
        call(&[&fits]).unwrap();
        for (operand, found) in [(&half, "f16 [2, 3]"), (&flat, "f32 [6]")] {
            let message = call(&[operand]).unwrap_err().to_string();
            assert!(message.contains("`x` of Root is f32 of 2 dimensions"), "{message}");
            assert!(message.contains(found), "{message}");
        }
        let message = call(&[]).unwrap_err().to_string();
        assert!(message.contains("takes 1 operands"), "{message}");
    }
}
