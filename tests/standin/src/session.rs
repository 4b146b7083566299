//! Graphs on ONNX Runtime, over memory of this process.
#![allow(unsafe_code, reason = "binds memory by ONNX Runtime's C API")]

use std::env;
use std::ffi::CString;
use std::path::PathBuf;
use std::ptr::{self, NonNull};
use std::sync::OnceLock;

use ort::AsPointer;
use ort::environment::Environment;
use ort::memory::MemoryInfo;
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{RunOptions, Session as OrtSession};
use ort::sys;

use crate::engine::Dtype;

/// A loaded graph.
pub(crate) struct Session(OrtSession);

/// A tensor in memory of this process.
pub(crate) struct Bound<'a> {
    pub(crate) name: &'a str,
    pub(crate) dtype: Dtype,
    pub(crate) shape: &'a [i64],
    pub(crate) bytes: u64,
    pub(crate) place: NonNull<u8>,
}

impl Session {
    /// Loads a model.
    ///
    /// # Errors
    /// ONNX Runtime is missing, or refuses the model.
    pub(crate) fn load(model: &[u8]) -> Result<Session, String> {
        let environment = environment()?;
        let text = |error: &dyn std::error::Error| error.to_string();
        let builder = OrtSession::builder(environment).map_err(|error| text(&error))?;
        let builder = builder
            .with_optimization_level(GraphOptimizationLevel::All)
            .map_err(|error| text(&error))?;
        let builder = builder.with_intra_threads(1).map_err(|error| text(&error))?;
        let mut builder = builder.with_memory_pattern(false).map_err(|error| text(&error))?;
        builder.commit_from_memory(model).map(Session).map_err(|error| text(&error))
    }

    /// Runs the graph over all of its inputs and outputs.
    ///
    /// # Errors
    /// What ONNX Runtime says.
    ///
    /// # Safety
    /// Every tensor's place has as many bytes as its shape and type say, aligned to 64 or at least
    /// to an element, which nobody else reads or writes meanwhile; those of inputs are initialised.
    /// A place may serve an input and an output that the graph updates in place.
    pub(crate) unsafe fn run(
        &self,
        inputs: &[Bound<'_>],
        outputs: &[Bound<'_>],
    ) -> Result<(), String> {
        let text = |error: ort::Error| error.to_string();
        let binding = self.0.create_binding().map_err(text)?;
        let options = RunOptions::new().map_err(text)?;
        let memory_info = MemoryInfo::default();
        let api = ort::api();
        for (is_input, tensor) in
            inputs.iter().map(|it| (true, it)).chain(outputs.iter().map(|it| (false, it)))
        {
            let name = CString::new(tensor.name).map_err(|error| error.to_string())?;
            let bytes = usize::try_from(tensor.bytes).map_err(|error| error.to_string())?;
            let mut value: *mut sys::OrtValue = ptr::null_mut();
            // SAFETY: the caller's promise for the place; the shape is read during the call. The
            // value is released once, after the binding has taken its own reference.
            unsafe {
                check((api.CreateTensorWithDataAsOrtValue)(
                    memory_info.ptr(),
                    tensor.place.as_ptr().cast(),
                    bytes,
                    tensor.shape.as_ptr(),
                    tensor.shape.len(),
                    element_type(tensor.dtype),
                    &mut value,
                ))
                .map_err(text)?;
                let bind = if is_input { api.BindInput } else { api.BindOutput };
                let status = bind(binding.ptr().cast_mut(), name.as_ptr(), value);
                (api.ReleaseValue)(value);
                check(status).map_err(text)?;
            }
        }
        // SAFETY: session, binding and options are alive; the caller's promise for the places.
        unsafe {
            check((api.RunWithBinding)(self.0.ptr().cast_mut(), options.ptr(), binding.ptr()))
                .map_err(text)
        }
    }
}

/// # Safety
/// `status` comes from a call of the C API and is given to nothing else.
unsafe fn check(status: sys::OrtStatusPtr) -> Result<(), ort::Error> {
    // SAFETY: the caller's promise.
    unsafe { ort::Error::result_from_status(status) }
}

fn element_type(dtype: Dtype) -> sys::ONNXTensorElementDataType {
    use sys::ONNXTensorElementDataType as Type;
    match dtype {
        Dtype::F32 => Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
        Dtype::F16 => Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16,
        Dtype::I8 => Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8,
        Dtype::I32 => Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32,
        Dtype::Bool => Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL,
        Dtype::U8 => Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8,
        Dtype::Bf16 => Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16,
        Dtype::I64 => Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64,
    }
}

/// The process's environment of ONNX Runtime.
fn environment() -> Result<&'static Environment, String> {
    static ENVIRONMENT: OnceLock<Result<Environment, String>> = OnceLock::new();
    ENVIRONMENT.get_or_init(load_library).as_ref().map_err(Clone::clone)
}

fn load_library() -> Result<Environment, String> {
    let path = library();
    let builder = ort::init_from(&path).map_err(|error| {
        let path = path.display();
        format!("ONNX Runtime, which the stand-in computes with, is not at {path}: {error}")
    })?;
    builder.with_telemetry(false).build().map_err(|error| error.to_string())
}

/// ONNX Runtime's library: `ORT_DYLIB_PATH`, or what `cargo xtask setup` fetched.
fn library() -> PathBuf {
    let named = env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty());
    if let Some(path) = named {
        return path.into();
    }
    let program = env::current_exe().unwrap_or_default();
    let places = program.ancestors().skip(1).take(3);
    let mut files = places.map(|place| place.join("native/onnxruntime/libonnxruntime.so"));
    files.find(|file| file.is_file()).unwrap_or_else(|| "libonnxruntime.so".into())
}
