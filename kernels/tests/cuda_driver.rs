//! This machine's own driver, whatever it is: asked without a panic, and answering in words.

use radnet_kernels::cuda::probe::{Absent, probe};
use radnet_kernels::cuda::{Driver, Gpu, GpuErrorKind};

/// Without a driver, or with one that has no device, there is an answer; with a device, it runs its first kernel.
#[test]
fn a_machine_is_asked_without_a_panic() {
    let (absent, reason) = match probe() {
        Ok(found) => {
            for gpu in &found {
                match Driver::open(gpu.index) {
                    Ok(driver) => eprintln!("{}: {} runs {}", driver.label(), driver.properties().name, driver.isa()),
                    Err(error) => panic!("{error}; kernels for {}", gpu.choice),
                }
            }
            let beyond = Driver::open(found.len()).unwrap_err();
            assert!(beyond.message.contains(&format!("there are {} GPUs", found.len())), "{beyond}");
            return;
        }
        Err(Absent::NoDriver(reason)) => ("no driver", reason),
        Err(Absent::Unusable(reason)) => ("a driver without use", reason),
    };
    eprintln!("skipped: no kernel was launched, since this machine has {absent}: {reason}");
    let error = Driver::open(3).unwrap_err();
    assert_eq!(error.kind, GpuErrorKind::Unavailable);
    assert_eq!(error.message, format!("cuda:3: {reason}"));
}
