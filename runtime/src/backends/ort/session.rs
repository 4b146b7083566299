//! Opening a graph as an ONNX Runtime session, and comparing it with the manifest.

use std::error::Error;
use std::path::Path;

use ::ort::session::Session;
use ::ort::session::builder::GraphOptimizationLevel;
use ::ort::value::{Outlet, TensorElementType, ValueType};
use cumo_bundle::{Dim, Dtype, Value};

use super::library;
use crate::backend::{BackendError, StepSpec};

/// Opens a graph. Weights in external data stay mapped from their files.
pub(super) fn open(file: &Path, threads: usize) -> Result<Session, BackendError> {
    library::with_environment(threads, |loaded| {
        let mut builder =
            Session::builder(&loaded.environment).map_err(|error| failed(file, &error))?;
        builder = builder
            .with_optimization_level(GraphOptimizationLevel::All)
            .map_err(|error| failed(file, &error))?;
        if threads != loaded.threads {
            builder =
                builder.with_independent_thread_pool().map_err(|error| failed(file, &error))?;
            builder = builder.with_intra_threads(threads).map_err(|error| failed(file, &error))?;
        }
        // The memory pattern is planned for one shape; decoding has another at every token.
        builder = builder.with_memory_pattern(false).map_err(|error| failed(file, &error))?;
        builder.commit_from_file(file).map_err(|error| failed(file, &error))
    })
}

fn failed(file: &Path, error: &dyn Error) -> BackendError {
    BackendError::Graph { file: file.to_owned(), reason: error.to_string() }
}

/// Checks that the graph takes and gives what the manifest says: names, types, ranks and the
/// sizes that both know.
pub(super) fn check_signature(
    session: &Session,
    file: &Path,
    spec: &StepSpec<'_>,
) -> Result<(), BackendError> {
    let all_bound = |outlets: &[Outlet], bound: &[&Value]| {
        outlets
            .iter()
            .find(|o| !bound.iter().any(|v| v.name == o.name()))
            .map(|o| o.name().to_owned())
    };
    let difference = spec
        .inputs
        .iter()
        .find_map(|value| value_difference("input", session.inputs(), value))
        .or_else(|| {
            spec.outputs.iter().find_map(|v| value_difference("output", session.outputs(), v))
        })
        .or_else(|| {
            all_bound(session.inputs(), spec.inputs)
                .map(|name| format!("the graph has an input `{name}` that nothing is bound to"))
        });
    match difference {
        None => Ok(()),
        Some(what) => Err(BackendError::Signature { file: file.to_owned(), what }),
    }
}

fn value_difference(kind: &str, outlets: &[Outlet], value: &Value) -> Option<String> {
    let name = &value.name;
    let Some(outlet) = outlets.iter().find(|outlet| outlet.name() == name) else {
        return Some(format!("the graph has no {kind} `{name}`"));
    };
    let ValueType::Tensor { ty, shape, .. } = outlet.dtype() else {
        return Some(format!("{kind} `{name}` is no tensor"));
    };
    if *ty != element_type(value.dtype) {
        return Some(format!("{kind} `{name}` is {ty}, the manifest says {}", value.dtype));
    }
    let fits = |(dim, size): (&Dim, &i64)| match dim {
        Dim::Fixed(fixed) => *size < 0 || *size == *fixed as i64,
        Dim::Symbol(_) => true,
    };
    let same = shape.len() == value.shape.len() && value.shape.iter().zip(shape.iter()).all(fits);
    let manifest: Vec<String> = value.shape.iter().map(ToString::to_string).collect();
    (!same).then(|| {
        format!("{kind} `{name}` has shape {shape}, the manifest says [{}]", manifest.join(", "))
    })
}

fn element_type(dtype: Dtype) -> TensorElementType {
    match dtype {
        Dtype::F32 => TensorElementType::Float32,
        Dtype::F16 => TensorElementType::Float16,
        Dtype::I64 => TensorElementType::Int64,
        Dtype::I32 => TensorElementType::Int32,
    }
}
