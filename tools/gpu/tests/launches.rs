//! What the engine launches on a device is there among the compiled kernels for that device.

use radnet_gpu::launches;
use std::collections::HashMap;
use std::path::Path;

/// DenseNet-121 in every precision, on paper, on a device of every target: each kernel that it launches was compiled for that target with room
/// for as many threads. (A device on paper also refuses what its properties do not allow.)
#[test]
fn every_launched_kernel_was_compiled() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../kernels/cuda/prebuilt/manifest.json");
    let manifest: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let mut compiled: HashMap<(&str, &str), u64> = HashMap::new();
    for module in manifest["modules"].as_array().unwrap() {
        for kernel in module["kernels"].as_array().unwrap() {
            let key = (module["target"].as_str().unwrap(), kernel["name"].as_str().unwrap());
            compiled.insert(key, kernel["max_threads"].as_u64().unwrap());
        }
    }
    let launched = launches::list(&[256], &[3]).unwrap();
    assert!(launched.len() > 4 * 3, "{} launches", launched.len());
    for launch in launched {
        let threads = compiled.get(&(launch.target, &*launch.kernel)).copied().unwrap_or(0);
        assert!(u64::from(launch.largest.block) <= threads, "{launch:?}, but compiled for blocks of {threads}");
    }
}
