//! Execution contexts.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::Engine;
use crate::error::Error;
use crate::handle::ContextHandle;
use crate::memory::DeviceBuffer;
use crate::stream::Stream;
use crate::tensor::Tensor;
use crate::work::Used;

/// The state of one execution after another: shapes, addresses, activation memory.
///
/// Executions of one context share its activation memory. On one stream they follow each other; on
/// two, the caller orders them with events.
pub struct Context {
    handle: ContextHandle,
    engine: Engine,
    /// Kept, since the device reads and writes them.
    tensors: BTreeMap<String, DeviceBuffer>,
    memory: Option<DeviceBuffer>,
    profile: usize,
    is_user_managed: bool,
    /// What an execution uses, once it is known that all of that fits together.
    checked: Option<Arc<ContextUse>>,
}

/// What an execution uses, in the order of dropping.
struct ContextUse {
    _context: Used,
    _buffers: Vec<Used>,
}

impl Context {
    pub(crate) fn create(engine: &Engine, is_user_managed: bool) -> Result<Self, Error> {
        Ok(Context {
            handle: ContextHandle::create(engine.handle.clone(), is_user_managed)?,
            engine: engine.clone(),
            tensors: BTreeMap::new(),
            memory: None,
            profile: 0,
            is_user_managed,
            checked: None,
        })
    }

    /// Gives activation memory, for contexts without memory of their own. Set it again where
    /// larger shapes need more.
    ///
    /// # Errors
    /// [`Error::Run`] for other contexts.
    pub fn set_memory(&mut self, memory: &DeviceBuffer) -> Result<(), Error> {
        if !self.is_user_managed {
            let reason = "the context has activation memory of its own".to_owned();
            return Err(Error::Run { reason });
        }
        self.checked = None;
        self.handle.set_memory(memory.address(), memory.bytes())?;
        self.memory = Some(memory.clone());
        Ok(())
    }

    /// Chooses a profile; the first is chosen from the start. Shapes are to be set again.
    ///
    /// # Errors
    /// [`Error::Run`] where there is no such profile.
    pub fn set_profile(&mut self, profile: usize, stream: &Stream) -> Result<(), Error> {
        if profile >= self.engine.num_profiles() {
            let count = self.engine.num_profiles();
            let reason = format!("there is no profile {profile}, only {count}");
            return Err(Error::Run { reason });
        }
        self.checked = None;
        stream.uses(self.handle.kept());
        self.handle.set_profile(profile, &stream.handle)?;
        self.profile = profile;
        Ok(())
    }

    /// Sets an input's shape.
    ///
    /// # Errors
    /// [`Error::Run`] where the profile does not allow it.
    pub fn set_shape(&mut self, input: &str, shape: &[i64]) -> Result<(), Error> {
        self.checked = None;
        self.handle.set_shape(input, shape)
    }

    /// A tensor's shape as it follows from the inputs' shapes; -1 where those are not all set.
    ///
    /// # Errors
    /// [`Error::Run`] where there is no such tensor.
    pub fn shape(&self, tensor: &str) -> Result<Vec<i64>, Error> {
        self.handle.shape(tensor)
    }

    /// Where an input or output lies. The context keeps the buffer.
    ///
    /// # Errors
    /// [`Error::Run`] where there is no such tensor.
    pub fn set_tensor(&mut self, tensor: &str, buffer: &DeviceBuffer) -> Result<(), Error> {
        self.checked = None;
        self.handle.set_address(tensor, buffer.address())?;
        self.tensors.insert(tensor.to_owned(), buffer.clone());
        Ok(())
    }

    /// Lets go of a tensor's buffer: it is to be set again before the next execution.
    pub fn unset_tensor(&mut self, tensor: &str) {
        self.checked = None;
        self.tensors.remove(tensor);
    }

    /// The activation memory in bytes that the shapes which are set need.
    ///
    /// # Errors
    /// [`Error::Run`].
    pub fn activation_bytes(&self) -> Result<u64, Error> {
        self.handle.activation_bytes()
    }

    /// Puts one execution on a stream and returns. The first after a change checks that every
    /// tensor has a shape and a buffer that holds it.
    ///
    /// # Errors
    /// [`Error::Run`] where one has not, or TensorRT refuses.
    pub fn enqueue(&mut self, stream: &Stream) -> Result<(), Error> {
        let used = match &self.checked {
            Some(used) => used.clone(),
            None => {
                self.check()?;
                self.checked.insert(Arc::new(self.used())).clone()
            }
        };
        stream.uses(used);
        self.handle.enqueue(&stream.handle)
    }

    fn used(&self) -> ContextUse {
        let buffers = self.tensors.values().chain(&self.memory).map(DeviceBuffer::used);
        ContextUse { _context: self.handle.kept(), _buffers: buffers.collect() }
    }

    fn check(&mut self) -> Result<(), Error> {
        for tensor in self.engine.inputs().iter().chain(self.engine.outputs()) {
            self.check_tensor(tensor).map_err(|why| Error::Run {
                reason: format!("`{}` of the engine: {why}", tensor.name),
            })?;
        }
        self.check_memory()
    }

    /// Memory that is enough for every shape of the profile stays as it was given. For less,
    /// TensorRT partitions it anew for the shapes that are set, and is given it after that: so is
    /// the order in its header.
    fn check_memory(&mut self) -> Result<(), Error> {
        let given = self.memory.as_ref().map_or(0, DeviceBuffer::bytes);
        if !self.is_user_managed || given >= self.engine.activation_bytes(self.profile)? {
            return Ok(());
        }
        let needed = self.handle.activation_bytes()?;
        match &self.memory {
            Some(memory) if given >= needed => self.handle.set_memory(memory.address(), given),
            _ => {
                let reason =
                    format!("the context needs {needed} bytes of activation memory, has {given}");
                Err(Error::Run { reason })
            }
        }
    }

    fn check_tensor(&self, tensor: &Tensor) -> Result<(), String> {
        if tensor.is_host {
            return Err("lies on the host, which is not supported".to_owned());
        }
        let shape = self.handle.shape(&tensor.name).map_err(|error| error.to_string())?;
        let needed = bytes_of(tensor, &shape)
            .ok_or_else(|| format!("of type {} and shape {shape:?} has no size", tensor.dtype))?;
        match self.tensors.get(&tensor.name) {
            None => Err("has no buffer".to_owned()),
            Some(buffer) if buffer.bytes() < needed => {
                let given = buffer.bytes();
                Err(format!("of shape {shape:?} needs {needed} bytes, its buffer has {given}"))
            }
            Some(_) => Ok(()),
        }
    }
}

/// Bytes of a tensor of a shape; `None` where a dimension or the type is not known.
fn bytes_of(tensor: &Tensor, shape: &[i64]) -> Option<u64> {
    let elements = shape.iter().try_fold(1_u64, |product, &dimension| {
        product.checked_mul(u64::try_from(dimension).ok()?)
    })?;
    let bits = elements.checked_mul(u64::try_from(tensor.dtype.bits()?).ok()?)?;
    Some(bits.div_ceil(8))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;

    #[test]
    fn sizes_follow_from_type_and_shape() {
        let tensor = |dtype| Tensor { name: "x".into(), dtype, shape: None, is_host: false };
        assert_eq!(bytes_of(&tensor(DType::F16), &[2, 3]), Some(12));
        assert_eq!(bytes_of(&tensor(DType::I4), &[3]), Some(2));
        assert_eq!(bytes_of(&tensor(DType::F32), &[]), Some(4));
        assert_eq!(bytes_of(&tensor(DType::F32), &[0, 7]), Some(0));
        assert_eq!(bytes_of(&tensor(DType::F32), &[-1, 7]), None);
        assert_eq!(bytes_of(&tensor(DType::F32), &[i64::MAX, i64::MAX]), None);
        assert_eq!(bytes_of(&tensor(DType::Other(77)), &[1]), None);
    }
}
