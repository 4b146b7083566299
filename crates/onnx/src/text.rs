//! A graph as text: a line a value, for people and for tests that compare graphs.

use std::collections::HashMap;
use std::fmt;

use crate::graph::Value;
use crate::model::Graph;
use crate::proto::attribute_proto::AttributeType;
use crate::proto::{AttributeProto, NodeProto};

/// Inputs, weights, nodes with their results, outputs, and the functions that nodes call:
///
/// ```text
/// input x: f32 [batch, 64]
/// weight fc1.weight: f32 [64, 8]
/// fc1/MatMul: f32 [batch, 8] = MatMul(x, fc1.weight)
/// output y: f32 [batch, 8]
/// ```
impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let graph = self.builder();
        for input in &graph.inputs {
            writeln!(f, "input {}: {}", input.name(), input.describe())?;
        }
        for weight in &graph.initializers {
            writeln!(f, "weight {}: {} {:?}", weight.name, weight.dtype, weight.shape)?;
        }
        let known = graph.values.iter().chain(&graph.outputs);
        let types: HashMap<&str, &Value> = known.map(|value| (value.name(), value)).collect();
        for node in &graph.nodes {
            let result = |name: &String| match types.get(name.as_str()) {
                Some(value) => format!("{name}: {}", value.describe()),
                None => shown(name).to_owned(),
            };
            write_node(f, node, node.output.iter().map(result).collect())?;
        }
        for output in &graph.outputs {
            writeln!(f, "output {}: {}", output.name(), output.describe())?;
        }
        for function in &graph.functions {
            let proto = &function.proto;
            writeln!(
                f,
                "\nfunction {}({}; {}) -> {}",
                operator(proto.domain(), proto.name()),
                proto.input.join(", "),
                proto.attribute.join(", "),
                proto.output.join(", ")
            )?;
            for node in &proto.node {
                f.write_str("  ")?;
                write_node(f, node, node.output.clone())?;
            }
        }
        Ok(())
    }
}

/// `results = Operator(inputs; attributes)`.
fn write_node(f: &mut fmt::Formatter<'_>, node: &NodeProto, results: Vec<String>) -> fmt::Result {
    let operator = operator(node.domain(), node.op_type());
    let inputs: Vec<&str> = node.input.iter().map(|name| shown(name)).collect();
    write!(f, "{} = {operator}({}", results.join(", "), inputs.join(", "))?;
    let attributes: Vec<String> = node.attribute.iter().map(attribute).collect();
    if !attributes.is_empty() {
        write!(f, "; {}", attributes.join(", "))?;
    }
    writeln!(f, ")")
}

/// A name; of an operand that is left out, a dash.
fn shown(name: &str) -> &str {
    if name.is_empty() { "-" } else { name }
}

fn operator(domain: &str, name: &str) -> String {
    if domain.is_empty() { name.to_owned() } else { format!("{domain}.{name}") }
}

/// `name=value`; of a tensor, its sizes and bytes.
fn attribute(attribute: &AttributeProto) -> String {
    let value = match attribute.r#type() {
        _ if attribute.ref_attr_name.is_some() => format!("@{}", attribute.ref_attr_name()),
        AttributeType::Int => attribute.i().to_string(),
        AttributeType::Ints => format!("{:?}", attribute.ints),
        AttributeType::Float => attribute.f().to_string(),
        AttributeType::String => String::from_utf8_lossy(attribute.s()).into_owned(),
        AttributeType::Tensor => {
            let tensor = attribute.t.clone().unwrap_or_default();
            let bytes = tensor.raw_data().iter().map(|byte| format!("{byte:02x}"));
            format!("{:?} 0x{}", tensor.dims, bytes.collect::<String>())
        }
        other => format!("{other:?}"),
    };
    format!("{}={value}", attribute.name())
}

#[cfg(test)]
mod tests {
    use crate::{DType, GraphBuilder};

    #[test]
    fn a_graph_reads_as_it_computes() {
        let mut g = GraphBuilder::new();
        let x = g.input("x", DType::F32, [2, 64]).unwrap();
        let weight = g.initializer("fc1.weight", DType::F32, &[64, 8]).unwrap();
        g.enter("fc1");
        let product = g.matmul(&x, &weight).unwrap();
        g.leave();
        let y = g.softmax(&product);
        g.output("y", &y, DType::F32, [2, 8]).unwrap();
        let expected = "input x: f32 [2, 64]\n\
                        weight fc1.weight: f32 [64, 8]\n\
                        fc1/MatMul: f32 [2, 8] = MatMul(x, fc1.weight)\n\
                        y: f32 [2, 8] = Softmax(fc1/MatMul; axis=-1)\n\
                        output y: f32 [2, 8]\n";
        assert_eq!(g.finish().to_string(), expected);
    }
}
