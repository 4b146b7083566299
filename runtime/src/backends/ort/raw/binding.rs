//! Tensors of a step bound to memory, through ONNX Runtime's I/O binding.
//!
//! `ort`'s own binding copies inputs that it does not own and cannot bind a view of a buffer whose
//! length changes from token to token, so tensors are made and bound through the C API here.

use std::ffi::CString;
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;

use ::ort::AsPointer;
use ::ort::memory::MemoryInfo;
use ::ort::session::{IoBinding, NoSelectedOutputs, RunOptions, Session};
use ::ort::sys::{self, ONNXTensorElementDataType};
use cumo_bundle::{Dtype, Value};

use super::memory::HostBuffer;
use crate::backend::{BackendError, Port, StepSpec, View};

/// A tensor has at most this many dimensions here; the largest of any graph has four.
const MAX_RANK: usize = 8;

/// A step's session with its bound inputs and outputs.
pub(in crate::backends::ort) struct Binding {
    session: Arc<Session>,
    binding: IoBinding,
    memory_info: MemoryInfo<'static>,
    inputs: Vec<BoundPort>,
    outputs: Vec<BoundPort>,
}

struct BoundPort {
    name: CString,
    /// Kept alive as long as it is bound.
    memory: Option<Rc<HostBuffer>>,
}

impl Binding {
    pub(in crate::backends::ort) fn new(
        session: Arc<Session>,
        spec: &StepSpec<'_>,
    ) -> Result<Self, BackendError> {
        let graph_error =
            |reason: String| BackendError::Graph { file: spec.file.to_owned(), reason };
        let ports = |values: &[&Value]| -> Result<Vec<BoundPort>, BackendError> {
            let port = |value: &&Value| match CString::new(value.name.as_str()) {
                Ok(name) => Ok(BoundPort { name, memory: None }),
                Err(error) => Err(graph_error(error.to_string())),
            };
            values.iter().map(port).collect()
        };
        Ok(Binding {
            binding: session.create_binding().map_err(|error| graph_error(error.to_string()))?,
            memory_info: MemoryInfo::default(),
            inputs: ports(spec.inputs)?,
            outputs: ports(spec.outputs)?,
            session,
        })
    }

    /// Binds a port to a tensor in `memory`, which is the view's buffer.
    pub(in crate::backends::ort) fn bind(
        &mut self,
        port: Port,
        memory: Rc<HostBuffer>,
        view: &View<'_>,
    ) -> Result<(), BackendError> {
        let View { offset, dtype, shape, .. } = *view;
        let bytes = shape
            .iter()
            .try_fold(dtype.size(), |bytes, size| bytes.checked_mul(*size))
            .unwrap_or(usize::MAX);
        let size = memory.size();
        if shape.len() > MAX_RANK || !offset.is_multiple_of(dtype.size()) {
            return Err(BackendError::OutOfBounds { offset, end: usize::MAX, size });
        }
        let start = match port {
            Port::Input(_) => memory.input(offset, bytes)?,
            Port::Output(_) => memory.output(offset, bytes)?,
        };
        let mut dims = [0_i64; MAX_RANK];
        for (dim, size) in dims.iter_mut().zip(shape) {
            *dim = *size as i64;
        }
        let bound = match port {
            Port::Input(index) => self.inputs.get_mut(index),
            Port::Output(index) => self.outputs.get_mut(index),
        };
        let Some(bound) = bound else {
            return Err(BackendError::Run {
                graph: String::new(),
                reason: format!("{port:?} does not exist"),
            });
        };
        let failed = |error: ::ort::Error| BackendError::Run {
            graph: bound.name.to_string_lossy().into_owned(),
            reason: error.to_string(),
        };
        let mut value: *mut sys::OrtValue = ptr::null_mut();
        // SAFETY: `start` is the address of `bytes` bytes of `memory`, checked above, aligned for the
        // element type: `memory` is for every type, and `offset` is a multiple of its size. `dims`
        // has at least `shape.len()` entries whose product times the element size is `bytes`. The
        // value does not own the memory: `bound.memory` keeps it alive for as long as the binding
        // refers to it. A tensor that is bound as an input alone is not written to, so
        // it may lie in memory that is only read.
        unsafe {
            let api = ::ort::api();
            check((api.CreateTensorWithDataAsOrtValue)(
                self.memory_info.ptr(),
                start.cast(),
                bytes,
                dims.as_ptr(),
                shape.len(),
                element_type(dtype),
                &mut value,
            ))
            .map_err(failed)?;
        }
        let binding = self.binding.ptr().cast_mut();
        // SAFETY: `value` was made above and is released once, after the binding has taken its own
        // reference to it; `binding` is owned by `self`; the name ends in a zero.
        let status = unsafe {
            let api = ::ort::api();
            let status = match port {
                Port::Input(_) => (api.BindInput)(binding, bound.name.as_ptr(), value),
                Port::Output(_) => (api.BindOutput)(binding, bound.name.as_ptr(), value),
            };
            (api.ReleaseValue)(value);
            check(status)
        };
        status.map_err(failed)?;
        bound.memory = Some(memory);
        Ok(())
    }

    /// Runs the graph over what is bound.
    pub(in crate::backends::ort) fn run(
        &mut self,
        options: &RunOptions<NoSelectedOutputs>,
    ) -> Result<(), ::ort::Error> {
        // SAFETY: session, binding and options are alive. Every bound tensor lies in memory that
        // `self` keeps alive. `OrtBackend` runs one step at a time and hands out no slice of the
        // memory meanwhile (its methods take `&mut self`), so nothing else touches it.
        unsafe {
            let api = ::ort::api();
            check((api.RunWithBinding)(
                self.session.ptr().cast_mut(),
                options.ptr(),
                self.binding.ptr(),
            ))
        }
    }
}

/// # Safety
/// `status` must come from a call of the C API and be given to nothing else.
unsafe fn check(status: sys::OrtStatusPtr) -> Result<(), ::ort::Error> {
    // SAFETY: the caller's promise.
    unsafe { ::ort::Error::result_from_status(status) }
}

fn element_type(dtype: Dtype) -> ONNXTensorElementDataType {
    match dtype {
        Dtype::F32 => ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
        Dtype::F16 => ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16,
        Dtype::I64 => ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64,
        Dtype::I32 => ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32,
    }
}
