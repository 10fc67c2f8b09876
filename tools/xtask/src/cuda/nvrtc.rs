//! NVRTC, loaded at run time: source text in, machine code or assembler text and a log out.

use libloading::Library;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr::{null, null_mut};

type Program = *mut c_void;
type Create = unsafe extern "C" fn(*mut Program, *const c_char, *const c_char, c_int, *const *const c_char, *const *const c_char) -> c_int;
type Compile = unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int;
type Destroy = unsafe extern "C" fn(*mut Program) -> c_int;
type Size = unsafe extern "C" fn(Program, *mut usize) -> c_int;
type Contents = unsafe extern "C" fn(Program, *mut c_char) -> c_int;
type Version = unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int;
type Words = unsafe extern "C" fn(c_int) -> *const c_char;

/// The compiler. Its package version is pinned; the library itself only tells major and minor.
pub(super) struct Nvrtc {
    library: Library,
}

/// What one compilation yields.
pub(super) struct Compiled {
    /// Assembler text, without the trailing NUL.
    pub ptx: String,
    /// Machine code; empty for a virtual architecture.
    pub cubin: Vec<u8>,
    /// Warnings and, per kernel, registers and spills.
    pub log: String,
}

const PINNED: (c_int, c_int) = (12, 9);

/// What the manifest calls it.
pub(super) const COMPILER: &str = "NVRTC 12.9.86";

impl Nvrtc {
    pub(super) fn load(file: &Path) -> Result<Self, String> {
        // SAFETY: the library is NVIDIA's compiler, from a package whose hash was checked or from a folder that the developer named; its
        // initialisers are those of any shared library.
        let library = unsafe { Library::new(file) }.map_err(|error| format!("{}: {error}", file.display()))?;
        let nvrtc = Self { library };
        let (mut major, mut minor) = (0, 0);
        // SAFETY: the function writes two ints.
        let status = unsafe { nvrtc.function::<Version>(b"nvrtcVersion\0")?(&raw mut major, &raw mut minor) };
        nvrtc.succeeded(status)?;
        match (major, minor) {
            PINNED => Ok(nvrtc),
            _ => Err(format!("{}: NVRTC {major}.{minor} instead of {}.{}", file.display(), PINNED.0, PINNED.1)),
        }
    }

    /// Compiles `source`, which diagnostics call `name`.
    pub(super) fn compile(&self, name: &str, source: &str, options: &[String]) -> Result<Compiled, String> {
        let source = CString::new(source).map_err(|_| format!("{name}: holds a NUL"))?;
        let file = CString::new(name).map_err(|_| "a NUL in a file name".to_owned())?;
        let mut program = Handle { nvrtc: self, program: null_mut() };
        // SAFETY: both strings are NUL-terminated and outlive the call; no headers are passed, so that the two arrays may be null.
        let status = unsafe {
            self.function::<Create>(b"nvrtcCreateProgram\0")?(&raw mut program.program, source.as_ptr(), file.as_ptr(), 0, null(), null())
        };
        self.succeeded(status)?;
        let options: Vec<CString> = options
            .iter()
            .map(|option| CString::new(option.as_str()))
            .collect::<Result<_, _>>()
            .map_err(|_| "a NUL in an option".to_owned())?;
        let pointers: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        // SAFETY: the program was created above; the array holds as many NUL-terminated strings as its length says, all alive.
        let status =
            unsafe { self.function::<Compile>(b"nvrtcCompileProgram\0")?(program.program, pointers.len() as c_int, pointers.as_ptr()) };
        let log = program.text(b"nvrtcGetProgramLogSize\0", b"nvrtcGetProgramLog\0")?;
        if status != 0 {
            return Err(format!("{name}: {}\n{log}", self.words(status)?));
        }
        let ptx = program.text(b"nvrtcGetPTXSize\0", b"nvrtcGetPTX\0")?;
        let cubin = program.contents(b"nvrtcGetCUBINSize\0", b"nvrtcGetCUBIN\0")?;
        Ok(Compiled { ptx, cubin, log })
    }

    fn function<T: Copy>(&self, name: &[u8]) -> Result<T, String> {
        // SAFETY: every caller names a function together with its type from nvrtc.h; the copied pointer is used while `self`, and with it
        // the library, lives.
        unsafe { self.library.get::<T>(name) }.map(|symbol| *symbol).map_err(|error| error.to_string())
    }

    fn words(&self, status: c_int) -> Result<String, String> {
        // SAFETY: the function returns a static, NUL-terminated string for every status.
        let words = unsafe { CStr::from_ptr(self.function::<Words>(b"nvrtcGetErrorString\0")?(status)) };
        Ok(words.to_string_lossy().into_owned())
    }

    fn succeeded(&self, status: c_int) -> Result<(), String> {
        match status {
            0 => Ok(()),
            _ => Err(self.words(status)?),
        }
    }
}

/// A program, destroyed with its owner.
struct Handle<'n> {
    nvrtc: &'n Nvrtc,
    program: Program,
}

impl Handle<'_> {
    fn contents(&self, size: &[u8], contents: &[u8]) -> Result<Vec<u8>, String> {
        let mut bytes = 0;
        // SAFETY: the program is alive, and the function writes one size.
        let status = unsafe { self.nvrtc.function::<Size>(size)?(self.program, &raw mut bytes) };
        self.nvrtc.succeeded(status)?;
        let mut buffer = vec![0u8; bytes];
        if bytes > 0 {
            // SAFETY: the buffer has the size that the library asked for.
            let status = unsafe { self.nvrtc.function::<Contents>(contents)?(self.program, buffer.as_mut_ptr().cast()) };
            self.nvrtc.succeeded(status)?;
        }
        Ok(buffer)
    }

    fn text(&self, size: &[u8], contents: &[u8]) -> Result<String, String> {
        let mut bytes = self.contents(size, contents)?;
        while bytes.last() == Some(&0) {
            bytes.pop();
        }
        String::from_utf8(bytes).map_err(|error| error.to_string())
    }
}

impl Drop for Handle<'_> {
    fn drop(&mut self) {
        if self.program.is_null() {
            return;
        }
        if let Ok(destroy) = self.nvrtc.function::<Destroy>(b"nvrtcDestroyProgram\0") {
            // SAFETY: the program was created by this library and is destroyed only here.
            unsafe { destroy(&raw mut self.program) };
        }
    }
}
