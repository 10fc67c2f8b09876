//! The GPUs in `radnet devices`: what there is, what each would run, and why not the rest.

use crate::console::{Emphasis, Paint};
use radnet::backend::cuda::devices::{Found, open, probe};
use std::fmt::Write;

/// `cuda` of the document.
#[derive(serde::Serialize)]
pub(crate) struct Cuda {
    /// Whether `--device cuda` would run on one of them.
    available: bool,
    /// Why not.
    reason: Option<String>,
    /// Version of the kernel's driver, where the system says.
    driver: Option<String>,
    devices: Vec<Gpu>,
}

#[derive(serde::Serialize)]
struct Gpu {
    index: usize,
    name: String,
    compute_capability: String,
    multiprocessors: u32,
    memory_bytes: u64,
    /// What the driver supports.
    cuda_version: String,
    /// The kernels that its first launch ran; null when it cannot be used.
    isa: Option<String>,
    /// Why it cannot be used.
    refusal: Option<String>,
    /// What this program carries, best first.
    images: Vec<Image>,
}

#[derive(serde::Serialize)]
struct Image {
    target: &'static str,
    /// Why it does not run here.
    refusal: Option<String>,
}

impl Cuda {
    /// Lists the GPUs and opens each.
    pub(crate) fn find() -> Self {
        let driver = std::fs::read_to_string("/proc/driver/nvidia/version").ok().and_then(|text| kernel_driver(&text));
        let found = match probe() {
            Ok(found) => found,
            Err(absent) => return Self { available: false, reason: Some(absent.to_string()), driver, devices: Vec::new() },
        };
        let devices: Vec<Gpu> = found.iter().map(Gpu::new).collect();
        let available = devices.iter().any(|gpu| gpu.isa.is_some());
        let reason = (!available).then(|| "none of the GPUs can be used".to_owned());
        Self { available, reason, driver, devices }
    }

    /// A paragraph for each GPU, or why there is none.
    pub(crate) fn text(&self, paint: Paint) -> String {
        let title = paint.text(Emphasis::Bold, "CUDA");
        if let (Some(reason), true) = (&self.reason, self.devices.is_empty()) {
            return format!("{title}  not available: {reason}\n");
        }
        let driver = self.driver.as_ref().map_or(String::new(), |version| format!(", driver {version}"));
        let mut text = String::new();
        for gpu in &self.devices {
            gpu.write(&mut text, &title, &driver, paint);
        }
        text
    }
}

impl Gpu {
    fn new(found: &Found) -> Self {
        let (isa, refusal) = match open(found.index) {
            Ok(gpu) => (Some(gpu.isa()), None),
            Err(error) => (None, Some(error.message().to_owned())),
        };
        let (major, minor) = found.properties.compute_capability;
        Self {
            index: found.index,
            name: found.properties.name.clone(),
            compute_capability: format!("{major}.{minor}"),
            multiprocessors: found.properties.multiprocessors,
            memory_bytes: found.properties.memory_bytes,
            cuda_version: found.cuda_version.clone(),
            isa,
            refusal,
            images: found.choice.verdicts.iter().map(|v| Image { target: v.target, refusal: v.refusal.clone() }).collect(),
        }
    }

    fn write(&self, text: &mut String, title: &str, driver: &str, paint: Paint) {
        let Self { index, name, compute_capability, multiprocessors, cuda_version, .. } = self;
        let gib = self.memory_bytes as f64 / f64::from(1 << 30);
        let _ = writeln!(
            text,
            "{title}  cuda:{index} {name}: compute capability {compute_capability}, {multiprocessors} multiprocessors, {gib:.1} GiB; CUDA {cuda_version}{driver}"
        );
        if let Some(refusal) = &self.refusal {
            let _ = writeln!(text, "  not available: {refusal}");
        }
        for image in &self.images {
            let used = self.isa.as_deref() == Some(image.target);
            let words = match &image.refusal {
                Some(reason) => format!("not available: {reason}"),
                None if used => paint.text(Emphasis::Bold, "used; its first kernel did what it should"),
                None => "would run, not used: a better one is, or it is needed for single kernels only".to_owned(),
            };
            let _ = writeln!(text, "  {:<10} {words}", image.target);
        }
        let _ = writeln!(text, "  precision  fp16 (auto), bf16, fp32");
    }
}

/// "550.54.15" of "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue …".
fn kernel_driver(text: &str) -> Option<String> {
    let is_version =
        |word: &&str| word.contains('.') && word.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    text.lines().next()?.split_whitespace().find(is_version).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use radnet::backend::cuda::devices::{Choice, Found};

    #[test]
    fn the_drivers_version_is_found() {
        let closed =
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\nGCC version:  gcc version 12.2.0";
        let open = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build";
        assert_eq!((kernel_driver(closed).as_deref(), kernel_driver(open).as_deref()), (Some("550.54.15"), Some("570.86.15")));
        assert_eq!(kernel_driver("GCC version"), None);
    }

    /// A GPU that cannot be opened is shown with the reason, and with what became of every image.
    #[test]
    fn a_refused_gpu_is_shown() {
        let properties = radnet::backend::cuda::GpuProperties {
            name: "Old GPU".to_owned(),
            compute_capability: (7, 5),
            multiprocessors: 40,
            shared_bytes_per_block: 64 << 10,
            shared_bytes_per_multiprocessor: 64 << 10,
            memory_bytes: 16 << 30,
        };
        let choice = Choice::of_this_build(properties.compute_capability);
        let found = Found { index: 1_000_000, properties, cuda_version: "12.4".to_owned(), choice };
        let cuda = Cuda { available: false, reason: None, driver: Some("550.54.15".to_owned()), devices: vec![Gpu::new(&found)] };
        let text = cuda.text(Paint { colour: false });
        for words in [
            "cuda:1000000 Old GPU: compute capability 7.5",
            "16.0 GiB; CUDA 12.4, driver 550.54.15",
            "not available: cuda:1000000: ",
            "compute_80",
            "8.0 or newer",
        ] {
            assert!(text.contains(words), "{words} in {text}");
        }
        assert!(!text.contains("used;"));
    }
}
