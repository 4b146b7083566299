//! NVML's library: its functions, as they are loaded.

use std::ffi::{CStr, c_char, c_int, c_uint, c_ulonglong, c_void};

use libloading::Library;

/// The library's file, as the driver installs it.
const LIBRARY: &str = "libnvidia-ml.so.1";

pub(super) type Device = *mut c_void;
pub(super) type GetNumber<T> = unsafe extern "C" fn(Device, *mut T) -> c_int;
pub(super) type GetKind = unsafe extern "C" fn(Device, c_int, *mut c_uint) -> c_int;

/// A process on a card, as the versions 2 and 3 of the function below have it.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ProcessInfo {
    pub(super) pid: c_uint,
    /// All bits set where it is not known.
    pub(super) used_bytes: c_ulonglong,
    pub(super) gpu_instance: c_uint,
    pub(super) compute_instance: c_uint,
}

/// The processes of a card: takes how many there is room for, and gives how many there are.
pub(super) type GetProcesses = unsafe extern "C" fn(Device, *mut c_uint, *mut ProcessInfo) -> c_int;

/// The functions that are called, with the types of `nvml.h`.
pub(super) struct Api {
    pub(super) init: unsafe extern "C" fn() -> c_int,
    pub(super) shutdown: unsafe extern "C" fn() -> c_int,
    pub(super) error_string: unsafe extern "C" fn(c_int) -> *const c_char,
    pub(super) count: unsafe extern "C" fn(*mut c_uint) -> c_int,
    pub(super) handle_by_index: unsafe extern "C" fn(c_uint, *mut Device) -> c_int,
    pub(super) handle_by_bus: unsafe extern "C" fn(*const c_char, *mut Device) -> c_int,
    pub(super) name: unsafe extern "C" fn(Device, *mut c_char, c_uint) -> c_int,
    pub(super) driver_version: unsafe extern "C" fn(*mut c_char, c_uint) -> c_int,
    pub(super) cuda_version: unsafe extern "C" fn(*mut c_int) -> c_int,
    /// Millijoules since the driver was loaded.
    pub(super) total_energy: GetNumber<c_ulonglong>,
    pub(super) temperature: GetKind,
    pub(super) clock: GetKind,
    pub(super) max_clock: GetKind,
    pub(super) throttle_reasons: GetNumber<c_ulonglong>,
    /// Milliwatts.
    pub(super) power_limit: GetNumber<c_uint>,
    /// None where the driver is older than 450.
    pub(super) processes: Option<GetProcesses>,
    /// Keeps the functions loaded; none for those of a test.
    pub(super) _library: Option<Library>,
}

impl Api {
    pub(super) fn load() -> Result<Self, String> {
        // SAFETY: the driver's own library, found as the system's loader finds libraries; what runs
        // when it is loaded is NVIDIA's, as in every program that uses it.
        let library = unsafe { Library::new(LIBRARY) }.map_err(|error| error.to_string())?;
        // SAFETY: the names and types are those of `nvml.h`, in which they have not changed since
        // the versions that these names stand for; the library is kept as long as the functions.
        unsafe {
            Ok(Api {
                init: function(&library, c"nvmlInit_v2")?,
                shutdown: function(&library, c"nvmlShutdown")?,
                error_string: function(&library, c"nvmlErrorString")?,
                count: function(&library, c"nvmlDeviceGetCount_v2")?,
                handle_by_index: function(&library, c"nvmlDeviceGetHandleByIndex_v2")?,
                handle_by_bus: function(&library, c"nvmlDeviceGetHandleByPciBusId_v2")?,
                name: function(&library, c"nvmlDeviceGetName")?,
                driver_version: function(&library, c"nvmlSystemGetDriverVersion")?,
                cuda_version: function(&library, c"nvmlSystemGetCudaDriverVersion_v2")?,
                total_energy: function(&library, c"nvmlDeviceGetTotalEnergyConsumption")?,
                temperature: function(&library, c"nvmlDeviceGetTemperature")?,
                clock: function(&library, c"nvmlDeviceGetClockInfo")?,
                max_clock: function(&library, c"nvmlDeviceGetMaxClockInfo")?,
                throttle_reasons: function(&library, c"nvmlDeviceGetCurrentClocksThrottleReasons")?,
                power_limit: function(&library, c"nvmlDeviceGetEnforcedPowerLimit")?,
                processes: function(&library, c"nvmlDeviceGetComputeRunningProcesses_v3")
                    .or_else(|_| function(&library, c"nvmlDeviceGetComputeRunningProcesses_v2"))
                    .ok(),
                _library: Some(library),
            })
        }
    }
}

/// A function of the library.
///
/// # Safety
/// The function of this name has the type `T`, and is called while the library is loaded only.
unsafe fn function<T: Copy>(library: &Library, name: &CStr) -> Result<T, String> {
    // SAFETY: the caller's promise.
    unsafe { library.get::<T>(name) }.map(|symbol| *symbol).map_err(|error| error.to_string())
}
