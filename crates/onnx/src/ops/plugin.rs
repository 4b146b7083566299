//! Operators of a domain that no schema or function in the model describes: the runtime brings them.

use crate::attribute::Attribute;
use crate::{DType, GraphBuilder, Shape, Value};

impl GraphBuilder {
    /// A node of the operator `op` of `domain`, with one result of the type and shape that the
    /// caller knows it to have.
    pub fn plugin(
        &mut self,
        (domain, op): (&str, &str),
        operands: &[&Value],
        attributes: Vec<(&str, Attribute)>,
        result: (DType, Shape),
    ) -> Value {
        let names: Vec<&str> = operands.iter().map(|value| value.name()).collect();
        self.add_node(op, domain, &names, vec![result], attributes).remove(0)
    }
}
