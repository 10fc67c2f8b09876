//! Kernels by name: an image is loaded when a kernel of it is first wanted, and stays.

use super::super::gpu::Result;
use super::super::prebuilt::{Choice, Module, capability_of_code};
use super::api::Status;
use super::context::Context;
use super::device::unavailable;
use cudarc::driver::sys;
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_void};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use sys::CUfunction_attribute_enum as Attribute;
use sys::CUjit_option_enum as JitOption;

/// A kernel ready to be launched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Function {
    pub(super) raw: sys::CUfunction,
    /// What its image is compiled for.
    pub(super) target: &'static str,
    /// What its code may rely on.
    pub(super) capability: (u32, u32),
    /// Largest dynamic shared memory of a launch, in bytes.
    pub(super) shared_limit: u32,
    /// Size of its argument struct, where the driver tells.
    pub(super) argument_bytes: Option<usize>,
}

// SAFETY: a function handle is a name for the driver, valid on every thread while its module is loaded; `Modules` unloads only when dropped.
unsafe impl Send for Function {}

/// The images of one device, and what was found in them.
pub(super) struct Modules {
    context: Arc<Context>,
    /// What may run here, best first.
    candidates: Vec<&'static Module>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By family and target.
    images: HashMap<(&'static str, &'static str), Image>,
    functions: HashMap<&'static str, Function>,
}

/// An image that was tried.
#[derive(Clone)]
enum Image {
    Loaded(sys::CUmodule),
    Refused(String),
}

// SAFETY: the handles are names for the driver, valid on every thread; they are used with the context current.
unsafe impl Send for State {}

impl Modules {
    /// The images among `modules` that this device can run.
    ///
    /// # Errors
    /// `Unavailable` when there are none.
    pub(super) fn new(context: Arc<Context>, modules: &'static [Module]) -> Result<Self> {
        let choice = Choice::new(modules, context.properties.compute_capability);
        if let Some(refusal) = choice.refusal() {
            return Err(unavailable(format!("{} ({}): {refusal}", context.label, context.properties.name)));
        }
        let candidates = choice.usable().flat_map(|target| modules.iter().filter(move |m| m.target == target)).collect();
        Ok(Self { context, candidates, state: Mutex::default() })
    }

    /// The kernel from the best image that has it and loads.
    ///
    /// # Errors
    /// `Unavailable` naming the kernel and why each image does not give it; `OutOfMemory`, `Failed`.
    pub(super) fn function(&self, kernel: &'static str) -> Result<Function> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(function) = state.functions.get(kernel) {
            return Ok(*function);
        }
        let mut refusals = String::new();
        for module in self.candidates.iter().filter(|m| m.kernels.contains(&kernel)) {
            match self.image(&mut state, module)? {
                Image::Loaded(raw) => {
                    let function = self.prepare(raw, kernel, module.target)?;
                    state.functions.insert(kernel, function);
                    return Ok(function);
                }
                Image::Refused(reason) => refusals.push_str(&format!("; {}: {reason}", module.target)),
            }
        }
        let Context { label, properties, .. } = &*self.context;
        let (major, minor) = properties.compute_capability;
        Err(unavailable(format!("{label}: no image for compute capability {major}.{minor} has the kernel {kernel}{refusals}")))
    }

    /// Loads an image, once.
    fn image(&self, state: &mut State, module: &'static Module) -> Result<Image> {
        let key = (module.family, module.target);
        if let Some(image) = state.images.get(&key) {
            return Ok(image.clone());
        }
        let image = self.load(module)?;
        state.images.insert(key, image.clone());
        Ok(image)
    }

    fn load(&self, module: &'static Module) -> Result<Image> {
        let image = match module.image() {
            Ok(image) => image,
            Err(reason) => return Ok(Image::Refused(reason)),
        };
        // Aligned as the driver's own structures want it, and with a zero at the end, as text needs it.
        let mut words = vec![0_u64; image.len() / 8 + 1];
        for (word, bytes) in words.iter_mut().zip(image.chunks(8)) {
            let mut whole = [0; 8];
            whole[..bytes.len()].copy_from_slice(bytes);
            *word = u64::from_ne_bytes(whole);
        }
        let mut log = [0_u8; 4096];
        let mut options = [JitOption::CU_JIT_ERROR_LOG_BUFFER, JitOption::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES];
        let mut values: [*mut c_void; 2] = [log.as_mut_ptr().cast(), (log.len() - 1) as *mut c_void];
        let mut raw = std::ptr::null_mut();
        // SAFETY: the image is complete, as the driver finds its end by itself, and is copied before the call returns; the options are as
        // many as their values; the log keeps its last byte, a terminator.
        let status = self.context.status(|api| unsafe {
            (api.module_load)(&mut raw, words.as_ptr().cast(), options.len() as u32, options.as_mut_ptr(), values.as_mut_ptr())
        })?;
        if status.refuses_the_image() {
            let said = CStr::from_bytes_until_nul(&log).map_or(String::new(), |log| log.to_string_lossy().into_owned());
            let said = said.lines().next().map_or(String::new(), |line| format!(", {line}"));
            return Ok(Image::Refused(format!("the driver refuses it ({}{said})", self.context.describe(status))));
        }
        self.context.check(status, || format!("load the kernels {} for {}", module.family, module.target))?;
        Ok(Image::Loaded(raw))
    }

    /// Finds a kernel, and lets it have all the shared memory that a block of this device can.
    fn prepare(&self, module: sys::CUmodule, kernel: &'static str, target: &'static str) -> Result<Function> {
        let name = CString::new(kernel).unwrap_or_default();
        let name: *const c_char = name.as_ptr();
        let mut raw = std::ptr::null_mut();
        // SAFETY: writes one handle; the module is loaded and the name terminated.
        let status = self.context.status(|api| unsafe { (api.module_function)(&mut raw, module, name) })?;
        if status == Status::NOT_FOUND {
            return Err(unavailable(format!("{}: the image for {target} lacks the kernel {kernel}", self.context.label)));
        }
        let what = || format!("prepare the kernel {kernel}");
        self.context.check(status, what)?;
        let mut own = 0;
        // SAFETY: writes one int; the function was found just now.
        self.context.call(what, |api| unsafe { (api.func_attribute)(&mut own, Attribute::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, raw) })?;
        let properties = &self.context.properties;
        let shared_limit = properties.shared_bytes_per_block.saturating_sub(u32::try_from(own).unwrap_or(0));
        let limit = i32::try_from(shared_limit).unwrap_or(i32::MAX);
        let set = |attribute, value| {
            // SAFETY: takes no pointers; the function was found just now.
            self.context.call(what, |api| unsafe { (api.func_set_attribute)(raw, attribute, value) })
        };
        set(Attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, limit)?;
        let capability = capability_of_code(target, properties.compute_capability);
        if capability >= (9, 0) {
            // Clusters of more than 8 blocks, which not every device can hold.
            set(Attribute::CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1)?;
        }
        Ok(Function { raw, target, capability, shared_limit, argument_bytes: self.argument_bytes(raw) })
    }

    fn argument_bytes(&self, function: sys::CUfunction) -> Option<usize> {
        let (mut offset, mut bytes) = (0, 0);
        let status = self.context.status(|api| match api.func_param_info {
            // SAFETY: writes two sizes; the function was found just now, and every kernel has a first parameter.
            Some(info) => unsafe { info(function, 0, &mut offset, &mut bytes) },
            None => Status::NOT_FOUND,
        });
        (status == Ok(Status::SUCCESS)).then_some(bytes)
    }
}

impl Drop for Modules {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        for image in state.images.values() {
            if let Image::Loaded(module) = *image {
                // SAFETY: loaded once and unloaded once; streams and graphs hold the modules, so nothing launches from it any more.
                self.context.release(|api| unsafe { (api.module_unload)(module) });
            }
        }
    }
}

impl fmt::Debug for Modules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Modules").field("candidates", &self.candidates.len()).finish_non_exhaustive()
    }
}
