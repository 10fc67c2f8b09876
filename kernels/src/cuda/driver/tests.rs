//! The driver side against a driver that does as it is told: what every refusal says, what is launched how, and that everything is given back.

use super::fake::{self, API, Launched, MODULES};
use super::*;
use crate::cuda::gpu::{DeviceMemory, GpuErrorKind, Launch};

fn open() -> Result<Driver> {
    open_at(0)
}

fn open_at(index: usize) -> Result<Driver> {
    Driver::with(Installed::new(&API)?, index, &*MODULES)
}

#[track_caller]
fn refused<T>(result: Result<T>, kind: GpuErrorKind, words: &[&str]) -> String {
    let Err(error) = result else { panic!("not refused") };
    assert_eq!(error.kind, kind, "{error}");
    for word in words {
        assert!(error.message.contains(word), "`{word}` in `{error}`");
    }
    error.message
}

const LAUNCH: Launch<'static> =
    Launch { kernel: "other", grid: [8, 1, 1], block: 128, cluster: 1, shared_bytes: 1024, arguments: &[0; 16], overlaps: false };

fn launch(stream: &mut dyn Stream, launch: Launch<'_>) -> Result<()> {
    // SAFETY: the fake driver follows no address of these launches.
    unsafe { stream.launch(&launch) }
}

/// Launches from any thread, and errors that can be sent on.
const fn shared<T: Send + Sync>() {}
const fn sent<T: Send>() {}
const _: () = (shared::<Driver>(), sent::<DriverStream>(), sent::<graph::DriverGraph>()).0;

#[test]
fn a_device_is_opened_tested_and_given_back() {
    let driver = open().unwrap();
    assert_eq!((driver.label(), driver.isa(), driver.cuda_version()), ("cuda:0".into(), "sm_90a".into(), "12.8".into()));
    let properties = driver.properties();
    assert_eq!((&*properties.name, properties.compute_capability, properties.memory_bytes), ("Fake GPU", (9, 0), 80 << 30));
    assert_eq!(properties.shared_bytes_per_block, 227 << 10);
    let launches = fake::with(|f| f.launches.clone());
    let first = Launched { kernel: selftest::KERNEL.into(), shared: 64 << 10, cluster: None, overlaps: false, recorded: false };
    assert_eq!(launches, [first]);
    drop(driver);
    assert!(fake::all_returned());
}

#[test]
fn what_stands_in_the_way_is_named() {
    let unavailable = |words: &[&str]| {
        refused(open(), GpuErrorKind::Unavailable, words);
        assert!(fake::all_returned());
    };
    fake::with(|f| f.version = 11_080);
    unavailable(&["too old", "CUDA 11.8", "12.0 is needed", "525"]);
    fake::with(|f| f.version = 12_000);
    fake::with(|f| f.failing.insert("init", 100));
    unavailable(&["no device"]);
    fake::with(|f| f.failing.insert("init", 803));
    unavailable(&["does not start"]);
    fake::with(|f| f.failing.clear());
    refused(open_at(1), GpuErrorKind::Unavailable, &["cuda:1", "1 GPUs"]);
    fake::with(|f| f.failing.insert("context_retain", 46));
    unavailable(&["cuda:0", "cannot be started", "error 46"]);
    fake::with(|f| f.failing.insert("context_retain", 2));
    refused(open(), GpuErrorKind::OutOfMemory, &["other programs"]);
    fake::with(|f| f.failing.clear());
    fake::with(|f| f.devices = vec![(7, 5)]);
    unavailable(&["Fake GPU", "7.5", "8.0 or newer"]);
    fake::with(|f| f.devices.clear());
    unavailable(&["no device"]);
    fake::with(|f| f.devices = vec![(8, 0)]);
    fake::with(|f| f.wrong = true);
    unavailable(&["first kernel", "word 300", "not used"]);
}

/// A full device is told apart from a broken one, and works on.
#[test]
fn a_full_device_says_what_to_do() {
    let driver = open().unwrap();
    fake::with(|f| f.failing.insert("memory_allocate", 2));
    refused(driver.allocate(5 << 20), GpuErrorKind::OutOfMemory, &["cuda:0", "5 MiB", "3 of 80 MiB are free", "fewer sessions"]);
    fake::with(|f| f.failing.insert("host_allocate", 2));
    refused(driver.allocate_pinned(1), GpuErrorKind::OutOfMemory, &["pin 1 MiB"]);
    fake::with(|f| f.failing.clear());
    let address = driver.allocate(5 << 20).unwrap();
    // SAFETY: allocated just now.
    unsafe { driver.free(address) };
    drop(driver);
    assert!(fake::all_returned());
}

/// After a fault, every call says so, and dropping still gives everything back.
#[test]
fn a_lost_device_stays_lost() {
    let driver: Arc<dyn Gpu> = Arc::new(open().unwrap());
    let memory = DeviceMemory::new(&driver, 100).unwrap();
    let mut stream = driver.stream().unwrap();
    stream.mark().unwrap();
    fake::with(|f| f.failing.insert("stream_synchronize", 700));
    let said = refused(stream.synchronize(), GpuErrorKind::Failed, &["cuda:0 was lost", "ILLEGAL_ADDRESS", "open it again"]);
    fake::with(|f| f.failing.clear());
    assert_eq!(refused(stream.synchronize(), GpuErrorKind::Failed, &[]), said);
    assert_eq!(refused(launch(&mut *stream, LAUNCH), GpuErrorKind::Failed, &[]), said);
    assert_eq!(refused(driver.allocate(1), GpuErrorKind::Failed, &[]), said);
    assert_eq!(refused(driver.stream(), GpuErrorKind::Failed, &[]), said);
    drop((memory, stream, driver));
    assert!(fake::all_returned());
    open().unwrap();
}

/// A refused launch is no lost device.
#[test]
fn a_failed_launch_names_its_kernel() {
    let driver = open().unwrap();
    let mut stream = driver.stream().unwrap();
    fake::with(|f| f.failing.insert("launch", 1));
    refused(launch(&mut *stream, LAUNCH), GpuErrorKind::Failed, &["could not launch other", "[8, 1, 1]"]);
    fake::with(|f| f.failing.clear());
    launch(&mut *stream, LAUNCH).unwrap();
}

#[test]
fn images_are_loaded_once_and_kernels_named_when_missing() {
    let driver = open().unwrap();
    let mut stream = driver.stream().unwrap();
    let loads = || fake::with(|f| f.calls["module_load"]);
    assert_eq!(loads(), 1);
    for _ in 0..3 {
        launch(&mut *stream, LAUNCH).unwrap();
        launch(&mut *driver.stream().unwrap(), LAUNCH).unwrap();
    }
    assert_eq!(loads(), 2);
    refused(launch(&mut *stream, Launch { kernel: "older", ..LAUNCH }), GpuErrorKind::Unavailable, &["kernel older", "9.0"]);
    refused(launch(&mut *stream, Launch { kernel: "absent", ..LAUNCH }), GpuErrorKind::Unavailable, &["sm_90a lacks the kernel absent"]);
    let damaged = launch(&mut *stream, Launch { kernel: "damaged", ..LAUNCH });
    refused(damaged, GpuErrorKind::Unavailable, &["the kernel damaged; sm_90a: it is not what was compiled"]);
}

/// What a driver refuses is replaced by the next best image, down to text that it compiles itself.
#[test]
fn the_next_image_is_tried() {
    fake::with(|f| f.refused.insert(b"sm_90a", 209));
    let driver = open().unwrap();
    assert_eq!((driver.isa(), driver.properties().compute_capability), ("compute_80".to_owned(), (8, 0)));
    let asked = Launch { kernel: selftest::KERNEL, cluster: 2, overlaps: true, ..LAUNCH };
    let mut stream = driver.stream().unwrap();
    refused(launch(&mut *stream, asked), GpuErrorKind::Unavailable, &["clusters", "code is for compute_80"]);
    drop((driver, stream));
    fake::with(|f| f.refused.insert(b"compute_80", 222));
    refused(open(), GpuErrorKind::Unavailable, &["kernel selftest", "sm_90a: ", "error 209", "compute_80: ", "error 222", "so bad"]);
    fake::with(|f| f.refused.insert(b"compute_80", 2));
    refused(open(), GpuErrorKind::OutOfMemory, &["load the kernels selftest for compute_80"]);
    assert!(fake::all_returned());
}

#[test]
fn clusters_and_overlap_begin_with_hopper() {
    let asked = Launch { cluster: 4, overlaps: true, ..LAUNCH };
    let last = || fake::with(|f| f.launches.last().cloned().unwrap());
    let driver = open().unwrap();
    let mut stream = driver.stream().unwrap();
    launch(&mut *stream, asked.clone()).unwrap();
    assert_eq!((last().cluster, last().overlaps), (Some(4), true));
    stream.begin_capture().unwrap();
    launch(&mut *stream, asked.clone()).unwrap();
    assert_eq!((last().overlaps, last().recorded), (true, true));
    drop((stream, driver));

    fake::with(|f| f.version = 12_020);
    let driver = open().unwrap();
    let mut stream = driver.stream().unwrap();
    stream.begin_capture().unwrap();
    launch(&mut *stream, asked.clone()).unwrap();
    assert_eq!((last().cluster, last().overlaps, last().recorded), (Some(4), false, true), "CUDA 12.2 cannot record an overlap");
    drop((stream, driver));

    fake::with(|f| f.devices = vec![(8, 0)]);
    let driver = open().unwrap();
    let mut stream = driver.stream().unwrap();
    refused(launch(&mut *stream, asked.clone()), GpuErrorKind::Unavailable, &["clusters", "9.0"]);
    launch(&mut *stream, Launch { cluster: 1, ..asked }).unwrap();
    assert_eq!((last().cluster, last().overlaps), (None, false));
    drop((stream, driver));
    assert!(fake::all_returned());
}

#[test]
fn impossible_launches_are_refused_before_the_driver_sees_them() {
    let driver = open().unwrap();
    let mut stream = driver.stream().unwrap();
    let before = fake::with(|f| f.launches.len());
    for (impossible, words) in [
        (Launch { grid: [8, 0, 1], ..LAUNCH }, "[8, 0, 1]"),
        (Launch { block: 0, ..LAUNCH }, "of 0 threads"),
        (Launch { cluster: 3, ..LAUNCH }, "whole clusters of 3"),
        (Launch { shared_bytes: 228 << 10, ..LAUNCH }, "a block has 232448"),
        (Launch { arguments: &[0; 8], ..LAUNCH }, "takes 16"),
    ] {
        refused(launch(&mut *stream, impossible), GpuErrorKind::Failed, &["cuda:0", "other", words]);
    }
    assert_eq!(fake::with(|f| f.launches.len()), before);
}

#[test]
fn work_is_recorded_and_run() {
    fake::with(|f| f.devices = vec![(9, 0), (9, 0)]);
    let driver = open().unwrap();
    let mut stream = driver.stream().unwrap();
    refused(stream.end_capture(), GpuErrorKind::Failed, &["no recording"]);
    stream.begin_capture().unwrap();
    launch(&mut *stream, LAUNCH).unwrap();
    for refusal in [stream.begin_capture(), stream.synchronize(), stream.mark().map(drop)] {
        refused(refusal, GpuErrorKind::Failed, &["while work is recorded"]);
    }
    let graph = stream.end_capture().unwrap();
    // SAFETY: the fake driver follows no address of this recording.
    unsafe { stream.replay(&*graph) }.unwrap();
    assert_eq!(fake::with(|f| f.calls["graph_launch"]), 1);
    let other = open_at(1).unwrap();
    // SAFETY: as above.
    refused(unsafe { other.stream().unwrap().replay(&*graph) }, GpuErrorKind::Failed, &["cuda:1", "another device's"]);
    fake::with(|f| f.failing.insert("graph_instantiate", 801));
    stream.begin_capture().unwrap();
    refused(stream.end_capture(), GpuErrorKind::Failed, &["executable"]);
    fake::with(|f| f.failing.clear());
    stream.begin_capture().unwrap();
    drop((driver, other, stream, graph));
    assert!(fake::all_returned());
}

/// The newest marks can be read, older ones are refused instead of read wrongly, and events are made only once.
#[test]
fn marks_are_events_used_again() {
    let driver = open().unwrap();
    let mut stream = driver.stream().unwrap();
    let first = stream.mark().unwrap();
    let second = stream.mark().unwrap();
    assert_eq!(stream.elapsed_ms(first, second).unwrap(), Some(0.25));
    refused(stream.elapsed_ms(first, second + 1), GpuErrorKind::Failed, &["mark 2"]);
    for _ in 0..marks::KEPT {
        stream.mark().unwrap();
    }
    refused(stream.elapsed_ms(second, second + 5), GpuErrorKind::Failed, &["mark 1"]);
    stream.elapsed_ms(second + 1, second + 5).unwrap();
    assert_eq!(fake::with(|f| f.alive["event"]), marks::KEPT as isize);
    drop((driver, stream));
    assert!(fake::all_returned());
}
