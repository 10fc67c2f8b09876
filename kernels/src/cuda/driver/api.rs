//! The driver's functions, looked up by name when a GPU is first asked for. Nothing here panics: a missing library or function is an answer.

use super::super::gpu::{GpuError, GpuErrorKind, Result};
use super::device::{OLDEST_DRIVER, version_text};
use cudarc::driver::sys;
use std::ffi::{CStr, c_char, c_int, c_uint, c_ulonglong, c_void};
use std::sync::OnceLock;

/// What a driver function returns. A number, since newer drivers return codes that no enumeration of ours has.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status(pub(super) u32);

/// No driver library on this machine.
#[derive(Debug)]
pub(in crate::cuda) struct NoLibrary;

macro_rules! driver_functions {
    ($($field:ident: $symbol:literal ($($argument:ty),*);)*) => {
        /// One pointer for each function that is used.
        #[derive(Clone, Copy)]
        pub(super) struct Api {
            $(pub(super) $field: unsafe extern "C" fn($($argument),*) -> Status,)*
            /// Where drivers have it (from 12.4 on): offset and size of a kernel's parameter.
            pub(super) func_param_info: Option<ParamInfo>,
        }

        impl Api {
            /// Looks every function up.
            ///
            /// # Errors
            /// `Unavailable` with the first one that this driver lacks.
            fn look_up() -> Result<Self> {
                // SAFETY: loading NVIDIA's library runs its initialisers, which is what it is for; it was seen to be loadable.
                let library = unsafe { sys::culib() };
                Ok(Self {
                    $($field: {
                        let name = concat!($symbol, "\0");
                        // SAFETY: the type is that of the driver's documented function of this name.
                        let found = unsafe { library.get::<unsafe extern "C" fn($($argument),*) -> Status>(name.as_bytes()) };
                        *found.map_err(|_| lacking($symbol))?
                    },)*
                    // SAFETY: the type is that of the driver's documented function of this name.
                    func_param_info: unsafe { library.get::<ParamInfo>(b"cuFuncGetParamInfo\0") }.ok().map(|found| *found),
                })
            }
        }
    };
}

/// Function, index, where to put offset and size.
type ParamInfo = unsafe extern "C" fn(sys::CUfunction, usize, *mut usize, *mut usize) -> Status;

driver_functions! {
    init: "cuInit" (c_uint);
    driver_version: "cuDriverGetVersion" (*mut c_int);
    error_name: "cuGetErrorName" (Status, *mut *const c_char);
    error_text: "cuGetErrorString" (Status, *mut *const c_char);
    device_count: "cuDeviceGetCount" (*mut c_int);
    device: "cuDeviceGet" (*mut sys::CUdevice, c_int);
    device_name: "cuDeviceGetName" (*mut c_char, c_int, sys::CUdevice);
    device_memory: "cuDeviceTotalMem_v2" (*mut usize, sys::CUdevice);
    device_attribute: "cuDeviceGetAttribute" (*mut c_int, sys::CUdevice_attribute, sys::CUdevice);
    context_retain: "cuDevicePrimaryCtxRetain" (*mut sys::CUcontext, sys::CUdevice);
    context_release: "cuDevicePrimaryCtxRelease_v2" (sys::CUdevice);
    context_push: "cuCtxPushCurrent_v2" (sys::CUcontext);
    context_pop: "cuCtxPopCurrent_v2" (*mut sys::CUcontext);
    memory_info: "cuMemGetInfo_v2" (*mut usize, *mut usize);
    memory_allocate: "cuMemAlloc_v2" (*mut sys::CUdeviceptr, usize);
    memory_free: "cuMemFree_v2" (sys::CUdeviceptr);
    host_allocate: "cuMemHostAlloc" (*mut *mut c_void, usize, c_uint);
    host_free: "cuMemFreeHost" (*mut c_void);
    copy_to_device: "cuMemcpyHtoDAsync_v2" (sys::CUdeviceptr, *const c_void, usize, sys::CUstream);
    copy_to_host: "cuMemcpyDtoHAsync_v2" (*mut c_void, sys::CUdeviceptr, usize, sys::CUstream);
    fill: "cuMemsetD8Async" (sys::CUdeviceptr, u8, usize, sys::CUstream);
    module_load: "cuModuleLoadDataEx" (*mut sys::CUmodule, *const c_void, c_uint, *mut sys::CUjit_option, *mut *mut c_void);
    module_unload: "cuModuleUnload" (sys::CUmodule);
    module_function: "cuModuleGetFunction" (*mut sys::CUfunction, sys::CUmodule, *const c_char);
    func_attribute: "cuFuncGetAttribute" (*mut c_int, sys::CUfunction_attribute, sys::CUfunction);
    func_set_attribute: "cuFuncSetAttribute" (sys::CUfunction, sys::CUfunction_attribute, c_int);
    stream_create: "cuStreamCreate" (*mut sys::CUstream, c_uint);
    stream_destroy: "cuStreamDestroy_v2" (sys::CUstream);
    stream_synchronize: "cuStreamSynchronize" (sys::CUstream);
    capture_begin: "cuStreamBeginCapture_v2" (sys::CUstream, sys::CUstreamCaptureMode);
    capture_end: "cuStreamEndCapture" (sys::CUstream, *mut sys::CUgraph);
    launch: "cuLaunchKernelEx" (*const sys::CUlaunchConfig, sys::CUfunction, *mut *mut c_void, *mut *mut c_void);
    graph_destroy: "cuGraphDestroy" (sys::CUgraph);
    graph_instantiate: "cuGraphInstantiateWithFlags" (*mut sys::CUgraphExec, sys::CUgraph, c_ulonglong);
    graph_upload: "cuGraphUpload" (sys::CUgraphExec, sys::CUstream);
    graph_launch: "cuGraphLaunch" (sys::CUgraphExec, sys::CUstream);
    graph_exec_destroy: "cuGraphExecDestroy" (sys::CUgraphExec);
    event_create: "cuEventCreate" (*mut sys::CUevent, c_uint);
    event_destroy: "cuEventDestroy_v2" (sys::CUevent);
    event_record: "cuEventRecord" (sys::CUevent, sys::CUstream);
    event_elapsed: "cuEventElapsedTime" (*mut f32, sys::CUevent, sys::CUevent);
}

/// The functions of this machine's driver.
///
/// # Errors
/// [`NoLibrary`] outside; inside, `Unavailable` with the function that is missing.
pub(super) fn api() -> Result<Result<&'static Api>, NoLibrary> {
    static API: OnceLock<Option<Result<Api>>> = OnceLock::new();
    let found = API.get_or_init(|| {
        // SAFETY: only tries to load NVIDIA's library, whose initialisers may run.
        let present = unsafe { sys::is_culib_present() };
        present.then(Api::look_up)
    });
    found.as_ref().map(|looked_up| looked_up.as_ref().map_err(Clone::clone)).ok_or(NoLibrary)
}

fn lacking(symbol: &str) -> GpuError {
    // SAFETY: as in `look_up`; the type is that of the driver's documented function of this name.
    let found = unsafe { sys::culib().get::<unsafe extern "C" fn(*mut c_int) -> Status>(b"cuDriverGetVersion\0") };
    let mut version = 0;
    // SAFETY: writes one int; may be called before the driver is initialised.
    let known = found.is_ok_and(|function| unsafe { function(&mut version) } == Status::SUCCESS);
    let supports =
        u32::try_from(version).ok().filter(|_| known).map_or(String::new(), |v| format!("supports CUDA {} and ", version_text(v)));
    let needed = version_text(OLDEST_DRIVER);
    let message =
        format!("the NVIDIA driver is too old: it {supports}has no {symbol}; CUDA {needed} is needed; install driver 525 or newer");
    GpuError::new(GpuErrorKind::Unavailable, message)
}

impl Api {
    /// "CUDA_ERROR_NO_DEVICE: no CUDA-capable device is detected".
    pub(super) fn describe(&self, status: Status) -> String {
        let said = |function: unsafe extern "C" fn(Status, *mut *const c_char) -> Status| {
            let mut text = std::ptr::null();
            // SAFETY: the driver writes a pointer to a string of its own that lives as long as the library, or null.
            let known = unsafe { function(status, &mut text) } == Status::SUCCESS && !text.is_null();
            // SAFETY: as above: not null, and terminated.
            known.then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
        };
        match (said(self.error_name), said(self.error_text)) {
            (Some(name), Some(text)) => format!("{name}: {text}"),
            (Some(name), None) => name,
            _ => format!("error {} of the NVIDIA driver", status.0),
        }
    }
}

impl Status {
    /// Nothing went wrong.
    pub(super) const SUCCESS: Self = Self(0);
    /// Device or host memory is used up.
    pub(super) const OUT_OF_MEMORY: Self = Self(2);
    /// There is no device, or none that this process may see.
    pub(super) const NO_DEVICE: Self = Self(100);
    /// A name that a module does not have.
    pub(super) const NOT_FOUND: Self = Self(500);

    /// Whether the context is lost with it: everything later on this device fails too, until the last user of its context is gone.
    pub(super) fn loses_the_context(self) -> bool {
        // Deinitialised; ECC error; NVLink error; contained error; context destroyed; assertion; illegal address, launch timeout, hardware
        // stack error, illegal instruction, misaligned address, invalid address space, invalid program counter, launch failure; tensor
        // memory leak; connection to a multi-process server gone; unknown.
        matches!(self.0, 4 | 214 | 220 | 226 | 700 | 702 | 709 | 710 | 714..=719 | 721 | 805 | 806 | 810 | 999)
    }

    /// Whether an image cannot run here for what it is, so that another may.
    pub(super) fn refuses_the_image(self) -> bool {
        // Invalid image, no binary for this device, invalid PTX, unsupported PTX version, no JIT compiler, JIT compilation disabled,
        // unsupported execution affinity, invalid source.
        matches!(self.0, 200 | 209 | 218 | 221..=224 | 300)
    }
}
