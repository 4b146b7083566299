//! A graph that cannot be.

use crate::{DType, Shape};

/// What is wrong with a node or value, with the place in the model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A node's operands do not fit each other.
    #[error("{place}: {op}: {problem}")]
    Node {
        /// Where in the model, for example `connector.expert[2].fc1`.
        place: String,
        /// The operator.
        op: &'static str,
        /// What does not fit, with the operands' types and shapes.
        problem: String,
    },
    /// Two values have one name.
    #[error("{place}: the name `{name}` is taken")]
    DuplicateName {
        /// Where in the model.
        place: String,
        /// The name.
        name: String,
    },
    /// An output differs from what the graph was to give.
    #[error(
        "{place}: output `{name}` is {found_dtype} {found}, it was to be {wanted_dtype} {wanted}"
    )]
    Output {
        /// Where in the model.
        place: String,
        /// The output.
        name: String,
        /// Its type.
        found_dtype: DType,
        /// Its shape.
        found: Shape,
        /// The type it was to have.
        wanted_dtype: DType,
        /// The shape it was to have.
        wanted: Shape,
    },
}
