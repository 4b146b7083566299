//! A device that engines run on.

use std::fs;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use crate::engine::Engine;
use crate::error::Error;
use crate::handle::{BlobHandle, LogTarget, RuntimeHandle};
use crate::kernels::Kernels;
use crate::library::Library;
use crate::memory::DeviceBuffer;
use crate::message::{Message, Severity};
use crate::stream::{Event, Stream};

/// An NVIDIA GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Its place among the machine's devices.
    pub ordinal: usize,
    /// Its name, for example `Orin`.
    pub name: String,
    /// `86` for 8.6.
    pub compute_capability: i32,
    /// The newest CUDA that the driver supports: `(13, 0)`.
    pub driver: (i32, i32),
    /// Streaming multiprocessors.
    pub multiprocessors: i32,
    /// Whether host and device share their memory, as on a Jetson.
    pub is_integrated: bool,
    /// Device memory in bytes.
    pub total_bytes: u64,
    /// Its place on the PCI bus, for example `0000:01:00.0`, by which other libraries know it too;
    /// none where it has none.
    pub pci_bus_id: Option<String>,
}

impl Library {
    /// The machine's devices.
    ///
    /// # Errors
    /// [`Error::MissingDriver`] where there is no driver or no device.
    pub fn devices(&self) -> Result<Vec<DeviceInfo>, Error> {
        (0..self.handle.num_devices()?)
            .map(|ordinal| {
                let raw = self.handle.device(ordinal)?;
                Ok(DeviceInfo {
                    ordinal: usize::try_from(ordinal).unwrap_or_default(),
                    name: raw.name,
                    compute_capability: raw.compute_capability,
                    driver: (raw.driver / 1000, raw.driver % 1000 / 10),
                    multiprocessors: raw.multiprocessors,
                    is_integrated: raw.is_integrated,
                    total_bytes: raw.total_bytes,
                    pci_bus_id: Some(raw.pci_bus_id).filter(|id| !id.is_empty()),
                })
            })
            .collect()
    }
}

/// Compiled kernels: bytes that TensorRT-RTX allocated.
pub struct KernelBytes(BlobHandle);

impl Deref for KernelBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.bytes()
    }
}

/// Device memory in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceMemory {
    /// What nobody has allocated.
    pub free_bytes: u64,
    /// All of it.
    pub total_bytes: u64,
}

/// TensorRT's runtime on one device. Cheap to clone; what is made from it keeps it alive.
#[derive(Clone)]
pub struct Runtime {
    pub(crate) handle: Arc<RuntimeHandle>,
}

impl Runtime {
    /// Uses a device; messages from warnings up are kept.
    ///
    /// # Errors
    /// [`Error::MissingDriver`] where there is no driver or no device; [`Error::Run`].
    pub fn new(library: &Library, device: usize) -> Result<Self, Error> {
        Self::with_messages(library, device, Severity::Warning)
    }

    /// Uses a device, and keeps messages that are at least so important.
    ///
    /// # Errors
    /// As [`Runtime::new`].
    pub fn with_messages(
        library: &Library,
        device: usize,
        max_severity: Severity,
    ) -> Result<Self, Error> {
        let log = LogTarget::new(max_severity);
        // A number past any device's gives the error of a device that is not there.
        let device = i32::try_from(device).unwrap_or(i32::MAX);
        Ok(Runtime { handle: RuntimeHandle::create(library.handle.clone(), device, log)? })
    }

    /// What is free, and what there is.
    ///
    /// # Errors
    /// [`Error::Cuda`].
    pub fn memory(&self) -> Result<DeviceMemory, Error> {
        let (free_bytes, total_bytes) = self.handle.memory()?;
        Ok(DeviceMemory { free_bytes, total_bytes })
    }

    /// Loads an engine. What is in it is code: load engines only from where programs come from.
    ///
    /// # Errors
    /// [`Error::WrongEngine`] where it is damaged, or for another TensorRT or device;
    /// [`Error::OutOfMemory`].
    pub fn load(&self, engine: &[u8]) -> Result<Engine, Error> {
        Engine::load(self, engine)
    }

    /// Loads an engine's file.
    ///
    /// # Errors
    /// [`Error::Io`], and as [`Runtime::load`].
    pub fn load_file(&self, path: &Path) -> Result<Engine, Error> {
        let engine =
            fs::read(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        self.load(&engine)
    }

    /// Allocates device memory, aligned to 256 bytes, of undefined content.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] with what is free.
    pub fn buffer(&self, bytes: u64) -> Result<DeviceBuffer, Error> {
        DeviceBuffer::alloc(self, bytes)
    }

    /// A file in the host's memory, mapped, as memory that the device reads where it lies: for
    /// devices that share the host's memory. The file must not change or become shorter while it is
    /// used. Nothing may be written to it.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Unsupported`] where the device cannot; [`Error::Cuda`].
    pub fn map_file(&self, path: &Path) -> Result<DeviceBuffer, Error> {
        DeviceBuffer::map(self, path)
    }

    /// The kernels of this project's plugin library ([`Library::own_plugins`]). What loading the
    /// file does is its maker's promise.
    ///
    /// # Errors
    /// [`Error::Plugin`] where they are not in it, or the file is cut off; [`Error::Unsupported`]
    /// where the device cannot run them.
    pub fn kernels(&self, plugins: &Path) -> Result<Kernels, Error> {
        Kernels::load(self, plugins)
    }

    /// Makes a stream: what is put on it runs in order.
    ///
    /// # Errors
    /// [`Error::Cuda`].
    pub fn stream(&self) -> Result<Stream, Error> {
        Stream::create(self)
    }

    /// Makes an event.
    ///
    /// # Errors
    /// [`Error::Cuda`].
    pub fn event(&self) -> Result<Event, Error> {
        Event::create(self)
    }

    /// The kernels that TensorRT-RTX has compiled for contexts so far, with those that were given
    /// with [`Engine::load_compiled_kernels`]: bytes to keep for it. None where there are none yet.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where engines hold their kernels: other flavours than RTX;
    /// [`Error::Run`].
    pub fn compiled_kernels(&self) -> Result<Option<KernelBytes>, Error> {
        Ok(self.handle.compiled_kernels()?.map(KernelBytes))
    }

    /// TensorRT's messages since the last call.
    #[must_use]
    pub fn take_messages(&self) -> Vec<Message> {
        self.handle.log().take()
    }
}
