//! Graphs on ONNX Runtime, over memory of this process.
#![allow(unsafe_code, reason = "binds memory by ONNX Runtime's C API")]

use std::collections::BTreeMap;
use std::env;
use std::ffi::CString;
use std::path::PathBuf;
use std::ptr::{self, NonNull};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ort::AsPointer;
use ort::environment::Environment;
use ort::memory::MemoryInfo;
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{RunOptions, Session as OrtSession};
use ort::sys;
use ort::value::{Outlet, ValueType};

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

/// Graphs that this process loaded, by their bytes: tests load the same engines many times, and a
/// graph is without state.
static LOADED: Mutex<BTreeMap<Vec<u8>, Arc<Session>>> = Mutex::new(BTreeMap::new());

/// The most that are kept; more is the sign of a test of its own kind.
const MOST_LOADED: usize = 512;

impl Session {
    /// A model's graph, loaded now or before.
    ///
    /// # Errors
    /// ONNX Runtime is missing, or refuses the model.
    pub(crate) fn of(model: &[u8]) -> Result<Arc<Session>, String> {
        let loaded = || LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = loaded().get(model) {
            return Ok(session.clone());
        }
        let session = Arc::new(Session::load(model)?);
        let mut all = loaded();
        if all.len() >= MOST_LOADED {
            all.clear();
        }
        all.insert(model.to_vec(), session.clone());
        Ok(session)
    }

    fn load(model: &[u8]) -> Result<Session, String> {
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

    /// The shapes of a model's outputs where its symbols have these sizes, as far as ONNX Runtime
    /// infers them; -1 where it does not.
    ///
    /// # Errors
    /// ONNX Runtime is missing, or refuses the model.
    pub(crate) fn output_shapes(
        model: &[u8],
        sizes: &BTreeMap<&str, i64>,
    ) -> Result<BTreeMap<String, Vec<i64>>, String> {
        let text = |error: &dyn std::error::Error| error.to_string();
        let mut builder = OrtSession::builder(environment()?).map_err(|error| text(&error))?;
        for (symbol, size) in sizes {
            builder =
                builder.with_dimension_override(symbol, *size).map_err(|error| text(&error))?;
        }
        let session = builder.commit_from_memory(model).map_err(|error| text(&error))?;
        let shape = |outlet: &Outlet| match outlet.dtype() {
            ValueType::Tensor { shape, .. } => shape.iter().copied().collect(),
            _ => Vec::new(),
        };
        Ok(session.outputs().iter().map(|it| (it.name().to_owned(), shape(it))).collect())
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
