//! Faults of TensorRT and CUDA in the words of the seam.

use cumo_tensorrt::Error;

use crate::backend::BackendError;

/// What an error means for whoever was doing something.
pub(super) fn during(doing: &str) -> impl FnOnce(Error) -> BackendError {
    let doing = doing.to_owned();
    move |error| match error {
        Error::OutOfMemory { reason } => BackendError::DeviceFull { doing, reason },
        error => BackendError::Device { doing, reason: error.to_string() },
    }
}

/// The same where a graph was prepared or run: what TensorRT refuses is the graph's fault.
pub(super) fn of_graph(graph: &str) -> impl FnOnce(Error) -> BackendError {
    let graph = graph.to_owned();
    move |error| match error {
        Error::OutOfMemory { .. } | Error::Cuda { .. } => {
            during(&format!("running graph `{graph}`"))(error)
        }
        error => BackendError::Run { graph, reason: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_device_a_lost_one_and_a_refused_step_are_told_apart() {
        let full = || Error::OutOfMemory { reason: "no".to_owned() };
        let lost = || Error::Cuda { reason: "gone".to_owned() };
        let refused = || Error::Run { reason: "shape".to_owned() };
        assert!(matches!(during("x")(full()), BackendError::DeviceFull { .. }));
        assert!(matches!(of_graph("g")(full()), BackendError::DeviceFull { .. }));
        assert!(matches!(during("x")(lost()), BackendError::Device { .. }));
        let text = of_graph("g")(lost()).to_string();
        assert_eq!(text, "the device failed (running graph `g`): gone");
        assert_eq!(of_graph("g")(refused()).to_string(), "graph `g` failed: shape");
    }
}
