//! A driver made of counters: it runs the self-test on the host, fails when told to, and knows what was not given back. Each test's thread has
//! its own.

use super::super::prebuilt::Module;
use super::super::selftest;
use super::api::{Api, Status};
use cudarc::driver::sys;
use flate2::{Compression, read::ZlibEncoder};
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::ffi::{CStr, c_char, c_int, c_uint, c_ulonglong, c_void};
use std::io::Read;
use std::sync::LazyLock;
use sys::CUdevice_attribute_enum as Attribute;

/// One launch as the driver saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Launched {
    pub(super) kernel: String,
    pub(super) shared: u32,
    pub(super) cluster: Option<u32>,
    pub(super) overlaps: bool,
    pub(super) recorded: bool,
}

/// What a test arranges and afterwards looks at.
pub(super) struct Fake {
    pub(super) version: i32,
    /// Compute capabilities.
    pub(super) devices: Vec<(i32, i32)>,
    /// What functions return from now on, by the field of [`Api`].
    pub(super) failing: HashMap<&'static str, u32>,
    /// What images with these first bytes get.
    pub(super) refused: HashMap<&'static [u8], u32>,
    /// Whether the self-test writes a wrong word.
    pub(super) wrong: bool,
    /// Size of every kernel's arguments.
    pub(super) argument_bytes: usize,
    pub(super) calls: BTreeMap<&'static str, usize>,
    pub(super) launches: Vec<Launched>,
    /// Things made and not given back, by kind.
    pub(super) alive: BTreeMap<&'static str, isize>,
    /// Contexts that are current on this thread, one on the other.
    pub(super) current: usize,
    memory: HashMap<u64, Vec<u64>>,
    capturing: bool,
}

thread_local! {
    static FAKE: RefCell<Fake> = RefCell::new(Fake {
        version: 12_080,
        devices: vec![(9, 0)],
        failing: HashMap::new(),
        refused: HashMap::new(),
        wrong: false,
        argument_bytes: 16,
        calls: BTreeMap::new(),
        launches: Vec::new(),
        alive: BTreeMap::new(),
        current: 0,
        memory: HashMap::new(),
        capturing: false,
    });
}

/// Images whose bytes are their target's name.
pub(super) static MODULES: LazyLock<[Module; 6]> = LazyLock::new(|| {
    [
        image("selftest", "sm_80", &[selftest::KERNEL]),
        image("selftest", "sm_90a", &[selftest::KERNEL]),
        image("selftest", "compute_80", &[selftest::KERNEL]),
        image("other", "sm_80", &["other", "older"]),
        image("other", "sm_90a", &["other", "absent"]),
        Module { sha256: "", ..image("damaged", "sm_90a", &["damaged"]) },
    ]
});

fn image(family: &'static str, target: &'static str, kernels: &'static [&'static str]) -> Module {
    let mut packed = Vec::new();
    ZlibEncoder::new(target.as_bytes(), Compression::fast()).read_to_end(&mut packed).unwrap();
    let hash: String = Sha256::digest(target).iter().map(|byte| format!("{byte:02x}")).collect();
    Module { family, target, bytes: target.len(), sha256: hash.leak(), packed: packed.leak(), kernels }
}

pub(super) fn with<R>(look: impl FnOnce(&mut Fake) -> R) -> R {
    FAKE.with_borrow_mut(look)
}

/// Whether everything was given back and this thread has the context that it had.
pub(super) fn all_returned() -> bool {
    with(|fake| fake.alive.values().all(|count| *count == 0) && fake.memory.is_empty() && fake.current == 0)
}

/// Counts a call, and does it unless it was told to fail or needs a context and has none.
fn call(name: &'static str, does: impl FnOnce(&mut Fake) -> u32) -> Status {
    const WITHOUT_CONTEXT: [&str; 12] = [
        "init",
        "driver_version",
        "error_name",
        "error_text",
        "device_count",
        "device",
        "device_name",
        "device_memory",
        "device_attribute",
        "context_retain",
        "context_release",
        "context_push",
    ];
    with(|fake| {
        *fake.calls.entry(name).or_default() += 1;
        match fake.failing.get(name) {
            Some(status) => Status(*status),
            None if fake.current == 0 && !WITHOUT_CONTEXT.contains(&name) => Status(201),
            None => Status(does(fake)),
        }
    })
}

fn made<T>(fake: &mut Fake, kind: &'static str, place: *mut *mut T) -> u32 {
    *fake.alive.entry(kind).or_default() += 1;
    // SAFETY: the driver under test hands in a place for one handle.
    unsafe { *place = std::ptr::dangling_mut() };
    0
}

fn gone(fake: &mut Fake, kind: &'static str) -> u32 {
    *fake.alive.entry(kind).or_default() -= 1;
    0
}

extern "C" fn init(_flags: c_uint) -> Status {
    call("init", |_| 0)
}

extern "C" fn driver_version(version: *mut c_int) -> Status {
    // SAFETY: a place for one int.
    call("driver_version", |fake| unsafe { write(version, fake.version) })
}

/// # Safety
/// `place` is valid for one value.
unsafe fn write<T>(place: *mut T, value: T) -> u32 {
    // SAFETY: as the caller promises.
    unsafe { place.write(value) };
    0
}

extern "C" fn error_name(status: Status, text: *mut *const c_char) -> Status {
    let name = match status.0 {
        2 => c"CUDA_ERROR_OUT_OF_MEMORY",
        700 => c"CUDA_ERROR_ILLEGAL_ADDRESS",
        _ => return Status(1),
    };
    // SAFETY: a place for one pointer.
    Status(unsafe { write(text, name.as_ptr()) })
}

extern "C" fn error_text(_status: Status, text: *mut *const c_char) -> Status {
    // SAFETY: a place for one pointer.
    Status(unsafe { write(text, c"as told".as_ptr()) })
}

extern "C" fn device_count(count: *mut c_int) -> Status {
    // SAFETY: a place for one int.
    call("device_count", |fake| unsafe { write(count, fake.devices.len() as i32) })
}

extern "C" fn device(device: *mut sys::CUdevice, index: c_int) -> Status {
    // SAFETY: a place for one handle.
    call("device", |_| unsafe { write(device, index) })
}

extern "C" fn device_name(name: *mut c_char, _room: c_int, _device: sys::CUdevice) -> Status {
    // SAFETY: room for 256 bytes.
    call("device_name", |_| unsafe { write(name.cast(), *b"Fake GPU\0") })
}

extern "C" fn device_memory(bytes: *mut usize, _device: sys::CUdevice) -> Status {
    // SAFETY: a place for one size.
    call("device_memory", |_| unsafe { write(bytes, 80 << 30) })
}

extern "C" fn device_attribute(value: *mut c_int, which: sys::CUdevice_attribute, device: sys::CUdevice) -> Status {
    call("device_attribute", |fake| {
        let (major, minor) = fake.devices[device as usize];
        let answer = match which {
            Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR => major,
            Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR => minor,
            Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN => 227 << 10,
            _ => 132,
        };
        // SAFETY: a place for one int.
        unsafe { write(value, answer) }
    })
}

extern "C" fn context_retain(context: *mut sys::CUcontext, _device: sys::CUdevice) -> Status {
    call("context_retain", |fake| made(fake, "context", context))
}

extern "C" fn context_release(_device: sys::CUdevice) -> Status {
    call("context_release", |fake| gone(fake, "context"))
}

extern "C" fn context_push(_context: sys::CUcontext) -> Status {
    call("context_push", |fake| {
        fake.current += 1;
        0
    })
}

extern "C" fn context_pop(_context: *mut sys::CUcontext) -> Status {
    call("context_pop", |fake| {
        fake.current -= 1;
        0
    })
}

extern "C" fn memory_info(free: *mut usize, total: *mut usize) -> Status {
    // SAFETY: places for two sizes.
    call("memory_info", |_| unsafe { write(free, 3 << 20) + write(total, 80 << 20) })
}

fn reserve(fake: &mut Fake, bytes: usize) -> u64 {
    let words = vec![u64::MAX; bytes.div_ceil(8)];
    let address = words.as_ptr() as u64;
    fake.memory.insert(address, words);
    address
}

fn unreserve(fake: &mut Fake, address: u64) -> u32 {
    if fake.memory.remove(&address).is_some() { 0 } else { 1 }
}

extern "C" fn memory_allocate(address: *mut sys::CUdeviceptr, bytes: usize) -> Status {
    // SAFETY: a place for one address.
    call("memory_allocate", |fake| unsafe { write(address, reserve(fake, bytes)) })
}

extern "C" fn memory_free(address: sys::CUdeviceptr) -> Status {
    call("memory_free", |fake| unreserve(fake, address))
}

extern "C" fn host_allocate(address: *mut *mut c_void, bytes: usize, flags: c_uint) -> Status {
    assert_eq!(flags, 0, "write-combined memory is slow to read");
    // SAFETY: a place for one address.
    call("host_allocate", |fake| unsafe { write(address, reserve(fake, bytes) as *mut c_void) })
}

extern "C" fn host_free(address: *mut c_void) -> Status {
    call("host_free", |fake| unreserve(fake, address as u64))
}

extern "C" fn copy_to_device(to: sys::CUdeviceptr, from: *const c_void, bytes: usize, _stream: sys::CUstream) -> Status {
    call("copy_to_device", |fake| copy(fake, to as *mut u8, from.cast(), bytes))
}

extern "C" fn copy_to_host(to: *mut c_void, from: sys::CUdeviceptr, bytes: usize, _stream: sys::CUstream) -> Status {
    call("copy_to_host", |fake| copy(fake, to.cast(), from as *const u8, bytes))
}

fn copy(fake: &Fake, to: *mut u8, from: *const u8, bytes: usize) -> u32 {
    if !fake.capturing {
        // SAFETY: the tests copy between memory that this driver reserved.
        unsafe { to.copy_from_nonoverlapping(from, bytes) };
    }
    0
}

extern "C" fn fill(to: sys::CUdeviceptr, value: u8, bytes: usize, _stream: sys::CUstream) -> Status {
    call("fill", |fake| {
        if !fake.capturing {
            // SAFETY: the tests clear memory that this driver reserved.
            unsafe { (to as *mut u8).write_bytes(value, bytes) };
        }
        0
    })
}

extern "C" fn module_load(
    module: *mut sys::CUmodule,
    image: *const c_void,
    options: c_uint,
    _names: *mut sys::CUjit_option,
    values: *mut *mut c_void,
) -> Status {
    assert_eq!(options, 2);
    // SAFETY: the images of the tests are text, to which the driver under test adds a terminator.
    let image = unsafe { CStr::from_ptr(image.cast()) }.to_bytes();
    call("module_load", |fake| match fake.refused.iter().find(|(start, _)| image.starts_with(start)) {
        Some((_, status)) => {
            // SAFETY: the first value is the log, which has room for this.
            unsafe { (*values).cast::<[u8; 7]>().write(*b"so bad\0") };
            *status
        }
        None => made(fake, "module", module),
    })
}

extern "C" fn module_unload(_module: sys::CUmodule) -> Status {
    call("module_unload", |fake| gone(fake, "module"))
}

extern "C" fn module_function(function: *mut sys::CUfunction, _module: sys::CUmodule, name: *const c_char) -> Status {
    // SAFETY: the name is terminated.
    let name = unsafe { CStr::from_ptr(name) }.to_str().unwrap();
    call("module_function", |_| match name {
        "absent" => 500,
        // SAFETY: a place for one handle, which is the name, kept for good.
        _ => unsafe { write(function, Box::into_raw(Box::new(name.to_owned())).cast()) },
    })
}

extern "C" fn func_attribute(value: *mut c_int, _which: sys::CUfunction_attribute, _function: sys::CUfunction) -> Status {
    // SAFETY: a place for one int.
    call("func_attribute", |_| unsafe { write(value, 0) })
}

extern "C" fn func_set_attribute(_function: sys::CUfunction, which: sys::CUfunction_attribute, value: c_int) -> Status {
    if which == sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES {
        assert_eq!(value, 227 << 10);
    }
    call("func_set_attribute", |_| 0)
}

extern "C" fn func_param_info(_function: sys::CUfunction, index: usize, offset: *mut usize, bytes: *mut usize) -> Status {
    assert_eq!(index, 0);
    // SAFETY: places for two sizes.
    call("func_param_info", |fake| unsafe { write(offset, 0) + write(bytes, fake.argument_bytes) })
}

extern "C" fn stream_create(stream: *mut sys::CUstream, flags: c_uint) -> Status {
    assert_eq!(flags, 1, "streams do not wait for the host's default stream");
    call("stream_create", |fake| made(fake, "stream", stream))
}

extern "C" fn stream_destroy(_stream: sys::CUstream) -> Status {
    call("stream_destroy", |fake| gone(fake, "stream"))
}

extern "C" fn stream_synchronize(_stream: sys::CUstream) -> Status {
    call("stream_synchronize", |_| 0)
}

extern "C" fn capture_begin(_stream: sys::CUstream, mode: sys::CUstreamCaptureMode) -> Status {
    assert_eq!(mode, sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED);
    call("capture_begin", |fake| {
        fake.capturing = true;
        0
    })
}

extern "C" fn capture_end(_stream: sys::CUstream, graph: *mut sys::CUgraph) -> Status {
    call("capture_end", |fake| {
        fake.capturing = false;
        made(fake, "graph", graph)
    })
}

extern "C" fn launch(
    config: *const sys::CUlaunchConfig,
    function: sys::CUfunction,
    parameters: *mut *mut c_void,
    extra: *mut *mut c_void,
) -> Status {
    assert!(extra.is_null());
    // SAFETY: the driver under test hands in one configuration with its attributes; functions are the names from `module_function`.
    let (config, kernel) = unsafe { (&*config, (*function.cast::<String>()).clone()) };
    let attributes: &[sys::CUlaunchAttribute] = match config.numAttrs {
        0 => &[],
        // SAFETY: as above.
        count => unsafe { std::slice::from_raw_parts(config.attrs, count as usize) },
    };
    call("launch", |fake| {
        let mut seen = Launched { kernel, shared: config.sharedMemBytes, cluster: None, overlaps: false, recorded: fake.capturing };
        for attribute in attributes {
            match attribute.id as u32 {
                // SAFETY: the field that belongs to the attribute.
                4 => seen.cluster = Some(unsafe { attribute.value.clusterDim }.x),
                // SAFETY: as above.
                6 => seen.overlaps = unsafe { attribute.value.programmaticStreamSerializationAllowed } == 1,
                id => panic!("attribute {id}"),
            }
        }
        if seen.kernel == selftest::KERNEL && !fake.capturing {
            // SAFETY: the one parameter is the self-test's struct: an address of as many words as it counts.
            let (out, count) = unsafe {
                let arguments = *parameters;
                (arguments.cast::<*mut u32>().read_unaligned(), arguments.cast::<u32>().add(2).read_unaligned())
            };
            for index in 0..count {
                // SAFETY: as above.
                unsafe { out.add(index as usize).write(selftest::expected(index) ^ u32::from(fake.wrong && index == 300)) };
            }
        }
        fake.launches.push(seen);
        0
    })
}

extern "C" fn graph_destroy(_graph: sys::CUgraph) -> Status {
    call("graph_destroy", |fake| gone(fake, "graph"))
}

extern "C" fn graph_instantiate(exec: *mut sys::CUgraphExec, _graph: sys::CUgraph, flags: c_ulonglong) -> Status {
    assert_eq!(flags, 0);
    call("graph_instantiate", |fake| made(fake, "executable graph", exec))
}

extern "C" fn graph_upload(_exec: sys::CUgraphExec, _stream: sys::CUstream) -> Status {
    call("graph_upload", |_| 0)
}

extern "C" fn graph_launch(_exec: sys::CUgraphExec, _stream: sys::CUstream) -> Status {
    call("graph_launch", |_| 0)
}

extern "C" fn graph_exec_destroy(_exec: sys::CUgraphExec) -> Status {
    call("graph_exec_destroy", |fake| gone(fake, "executable graph"))
}

extern "C" fn event_create(event: *mut sys::CUevent, flags: c_uint) -> Status {
    assert_eq!(flags, 0, "an event without flags takes the time");
    call("event_create", |fake| made(fake, "event", event))
}

extern "C" fn event_destroy(_event: sys::CUevent) -> Status {
    call("event_destroy", |fake| gone(fake, "event"))
}

extern "C" fn event_record(_event: sys::CUevent, _stream: sys::CUstream) -> Status {
    call("event_record", |_| 0)
}

extern "C" fn event_elapsed(milliseconds: *mut f32, _first: sys::CUevent, _last: sys::CUevent) -> Status {
    // SAFETY: a place for one float.
    call("event_elapsed", |_| unsafe { write(milliseconds, 0.25) })
}

/// The functions above.
pub(super) static API: Api = Api {
    init,
    driver_version,
    error_name,
    error_text,
    device_count,
    device,
    device_name,
    device_memory,
    device_attribute,
    context_retain,
    context_release,
    context_push,
    context_pop,
    memory_info,
    memory_allocate,
    memory_free,
    host_allocate,
    host_free,
    copy_to_device,
    copy_to_host,
    fill,
    module_load,
    module_unload,
    module_function,
    func_attribute,
    func_set_attribute,
    stream_create,
    stream_destroy,
    stream_synchronize,
    capture_begin,
    capture_end,
    launch,
    graph_destroy,
    graph_instantiate,
    graph_upload,
    graph_launch,
    graph_exec_destroy,
    event_create,
    event_destroy,
    event_record,
    event_elapsed,
    func_param_info: Some(func_param_info),
};
