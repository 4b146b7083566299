//! The library: which TensorRT the stand-in pretends to be.

use std::cell::RefCell;
use std::ffi::{CString, c_char, c_void};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{c_text, give, guard, slice, text};
use crate::device::Device;
use crate::engine::Header;
use crate::fault::Fault;
use crate::folder::{self, PLUGIN_TEXT};
use crate::journal::Journal;
use crate::objects::{self, Object};
use crate::settings::{DeviceSettings, Settings};
use crate::sys::{self, code};

/// An opened library.
pub(super) struct Library {
    pub(super) settings: Settings,
    pub(super) journal: Arc<Journal>,
    /// None where there is no driver.
    pub(super) device: Option<Arc<Device>>,
    pub(super) has_plugin: AtomicBool,
    version: CString,
    path: CString,
}

impl Object for Library {
    const KIND: &'static str = "library";

    fn journal(&self) -> Option<Arc<Journal>> {
        Some(self.journal.clone())
    }
}

impl Library {
    /// # Errors
    /// There is no driver.
    pub(super) fn device(&self) -> crate::fault::Result<&Arc<Device>> {
        self.device.as_ref().ok_or_else(no_driver)
    }
}

fn no_driver() -> Fault {
    Fault::new(code::MISSING_DRIVER, "no NVIDIA driver: the stand-in's settings have no device")
}

thread_local! {
    /// The device of the library that this thread opened last: it is asked for without one.
    static DEVICE: RefCell<Option<Option<DeviceSettings>>> = const { RefCell::new(None) };
}

/// # Errors
/// There is no driver.
fn device_facts() -> crate::fault::Result<DeviceSettings> {
    let opened = DEVICE.with_borrow(Clone::clone);
    let of_folder = || {
        let folder = std::env::var_os("CUMO_TRT_LIBRARY")?;
        folder::settings(Path::new(&folder)).ok()
    };
    opened.unwrap_or_else(|| of_folder().unwrap_or_default().device).ok_or_else(no_driver)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_abi_version() -> u32 {
    sys::ABI_VERSION | sys::STAND_IN
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_flavour() -> *const c_char {
    c"rtx".as_ptr()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_library_open(
    folder: *const c_char,
    out: *mut *mut sys::Library,
) -> *mut sys::Status {
    guard(|| {
        // SAFETY: the header.
        unsafe { give(out, ptr::null_mut()) }?;
        let folder = match folder.is_null() {
            true => None,
            // SAFETY: the header.
            false => Some(PathBuf::from(unsafe { text(folder) }?)),
        };
        let settings = folder.as_deref().map_or_else(|| Ok(Settings::default()), folder::settings);
        let settings = settings.map_err(|why| Fault::new(code::MISSING_LIBRARY, why))?;
        DEVICE.set(Some(settings.device.clone()));
        let path = folder.clone().unwrap_or_else(|| "the stand-in".into());
        let journal = Arc::new(Journal::new(folder, settings.is_traced));
        let device = settings.device.clone();
        let device =
            device.map(|facts| Arc::new(Device::new(settings.clone(), facts, journal.clone())));
        let library = Library {
            version: c_text(&settings.version),
            path: c_text(&path.to_string_lossy()),
            has_plugin: AtomicBool::new(false),
            settings,
            journal,
            device,
        };
        // SAFETY: the header.
        unsafe { give(out, objects::put(Arc::new(library), 0)) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_library_version(library: *const sys::Library) -> *const c_char {
    objects::get::<Library, _>(library).map_or(ptr::null(), |library| library.version.as_ptr())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_library_path(library: *const sys::Library) -> *const c_char {
    objects::get::<Library, _>(library).map_or(ptr::null(), |library| library.path.as_ptr())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_library_can_build(library: *const sys::Library) -> i32 {
    objects::get::<Library, _>(library).map_or(0, |library| library.settings.can_build.into())
}

/// What this project's plugin exports: the stand-in is found as both.
#[unsafe(no_mangle)]
pub extern "C" fn cumo_plugin_layout_version() -> i32 {
    1
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_library_load_plugins(
    library: *mut sys::Library,
    path: *const c_char,
) -> *mut sys::Status {
    guard(|| {
        let library = objects::get::<Library, _>(library)?;
        // SAFETY: the header.
        check_plugin(&unsafe { text(path) }?)?;
        library.has_plugin.store(true, Ordering::Relaxed);
        Ok(())
    })
}

/// # Errors
/// The file is not the stand-in's plugin.
pub(super) fn check_plugin(path: &str) -> crate::fault::Result<()> {
    let fault = |error: std::io::Error| Fault::new(code::PLUGIN, format!("{path}: {error}"));
    let mut start = Vec::new();
    let file = std::fs::File::open(path).map_err(fault)?;
    file.take(PLUGIN_TEXT.len() as u64).read_to_end(&mut start).map_err(fault)?;
    let is_this = Path::new(path)
        .canonicalize()
        .is_ok_and(|file| file.file_name() == Some(folder::BUILT_FILE.as_ref()));
    match is_this || start == PLUGIN_TEXT.as_bytes() {
        true => Ok(()),
        false => Err(Fault::new(code::PLUGIN, format!("{path}: not the stand-in's plugin"))),
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_library_free(library: *mut sys::Library) {
    objects::free::<Library, _>(library);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_num_devices(out: *mut i32) -> *mut sys::Status {
    guard(|| {
        // SAFETY: the header.
        unsafe { give(out, 0) }?;
        device_facts()?;
        // SAFETY: the header.
        unsafe { give(out, 1) }
    })
}

/// A text with a NUL at its end, cut to fit.
fn c_chars<const ROOM: usize>(text: &str) -> [c_char; ROOM] {
    let mut chars = [0; ROOM];
    let bytes = text.bytes().filter(|byte| *byte != 0);
    let room = chars.iter_mut().take(ROOM - 1);
    room.zip(bytes).for_each(|(to, from)| *to = c_char::from_ne_bytes([from]));
    chars
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_device_info(
    device: i32,
    out: *mut sys::Device,
) -> *mut sys::Status {
    guard(|| {
        let facts = device_facts()?;
        if device != 0 {
            return Err(Fault::new(
                code::MISSING_DRIVER,
                format!("no device {device}: there is one"),
            ));
        }
        let info = sys::Device {
            name: c_chars(&facts.name),
            compute_capability: facts.compute_capability,
            driver: facts.driver,
            multiprocessors: facts.multiprocessors,
            is_integrated: facts.is_integrated.into(),
            total_bytes: facts.total_bytes,
            pci_bus_id: c_chars(&facts.pci_bus_id),
        };
        // SAFETY: the header.
        unsafe { give(out, info) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_engine_check(
    library: *mut sys::Library,
    engine: *const c_void,
    engine_bytes: usize,
) -> *mut sys::Status {
    guard(|| {
        let library = objects::get::<Library, _>(library)?;
        // SAFETY: the header.
        let file = unsafe { slice(engine.cast::<u8>(), engine_bytes) }?;
        Header::decode(file, &library.settings.version).map(|_| ())
    })
}
