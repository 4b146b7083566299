//! How tensors can differ from those that the configuration asks for.

use std::fmt;
use std::path::PathBuf;

use super::{SHOWN, Thousands, more};

/// A tensor that does not fit the configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TensorProblem {
    /// Not there.
    #[error("missing: `{name}` {want:?}")]
    Missing {
        /// Name in a whole checkpoint.
        name: String,
        /// Shape that the configuration needs.
        want: Vec<usize>,
    },
    /// Another shape.
    #[error("misshapen: `{name}` is {got:?}, the configuration needs {want:?} ({})", file.display())]
    Shape {
        /// Its file.
        file: PathBuf,
        /// Name as in the file.
        name: String,
        /// Its shape.
        got: Vec<usize>,
        /// Shape that the configuration needs.
        want: Vec<usize>,
    },
    /// Elements of a type that weights cannot have.
    #[error("wrong type: `{name}` is {got}, weights are f32, f16 or bf16 ({})", file.display())]
    Dtype {
        /// Its file.
        file: PathBuf,
        /// Name as in the file.
        name: String,
        /// Its type.
        got: &'static str,
    },
    /// Not a tensor of the configured model.
    #[error("extra: `{name}` {shape:?} is no tensor of the configured model ({})", file.display())]
    Extra {
        /// Its file.
        file: PathBuf,
        /// Name as in the file.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// Two tensors for one place in the model.
    #[error("twice: `{name}` and `{other}` are the same tensor of the model ({})", file.display())]
    Twice {
        /// File of the second.
        file: PathBuf,
        /// Name of the first, as in its file.
        name: String,
        /// Name of the second, as in its file.
        other: String,
    },
}

impl TensorProblem {
    /// Lists of problems are shown kind by kind.
    fn kind(&self) -> usize {
        match self {
            TensorProblem::Missing { .. } => 0,
            TensorProblem::Shape { .. } => 1,
            TensorProblem::Dtype { .. } => 2,
            TensorProblem::Extra { .. } => 3,
            TensorProblem::Twice { .. } => 4,
        }
    }
}

/// All tensors that do not fit.
#[derive(Debug, Default)]
pub struct TensorProblems(pub Vec<TensorProblem>);

impl fmt::Display for TensorProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const KINDS: [&str; 5] = ["missing", "misshapen", "of a wrong type", "extra", "twice"];
        let of_kind = |kind| self.0.iter().filter(move |problem| problem.kind() == kind);
        let counts: Vec<String> = KINDS
            .iter()
            .enumerate()
            .map(|(kind, name)| (of_kind(kind).count(), name))
            .filter(|(count, _)| *count > 0)
            .map(|(count, name)| format!("{} {name}", Thousands(count)))
            .collect();
        f.write_str(&counts.join(", "))?;
        for kind in 0..KINDS.len() {
            for problem in of_kind(kind).take(SHOWN) {
                write!(f, "\n  {problem}")?;
            }
            more(f, of_kind(kind).count())?;
        }
        Ok(())
    }
}
