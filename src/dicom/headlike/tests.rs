//! Simple bodies, each with what makes it a head or not.

use super::*;
use crate::volume::HuPixels;

const SIDE: usize = 256;

/// A volume of equal slices whose HU is a function of the place in mm from the middle.
fn volume(slices: usize, pixel_mm: f64, hu: impl Fn(f64, f64) -> i16) -> HuVolume {
    let place = |i: usize| (i as f64 - SIDE as f64 / 2.0) * pixel_mm;
    let pixels: Vec<i16> = (0..SIDE * SIDE).map(|i| hu(place(i % SIDE), place(i / SIDE))).collect();
    let slice = HuSlice { pixels: HuPixels::Int(pixels), sop_instance_uid: None, instance_number: None, position_mm: None };
    HuVolume::new(vec![slice; slices], SIDE, SIDE, Some([pixel_mm; 2])).unwrap()
}

fn doubt(volume: &HuVolume) -> Option<String> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    check(volume, &pool).map(|f| f.message)
}

/// Whether a point lies in an ellipse.
fn within(x: f64, y: f64, rx: f64, ry: f64) -> bool {
    (x / rx).powi(2) + (y / ry).powi(2) < 1.0
}

fn head(x: f64, y: f64) -> i16 {
    match () {
        () if within(x, y, 66.0, 84.0) => 35,
        () if within(x, y, 72.0, 90.0) => 900,
        () if within(x, y, 78.0, 96.0) => 20,
        () => -1000,
    }
}

/// HU by position in mm from the centre.
type Body<'a> = &'a dyn Fn(f64, f64) -> i16;

#[test]
fn heads() {
    assert_eq!(doubt(&volume(5, 0.9, head)), None);
    // In its holder, with a table under it.
    let held = |x: f64, y: f64| if (100.0..106.0).contains(&y) { 200 } else { head(x, y - 5.0) };
    assert_eq!(doubt(&volume(5, 0.9, held)), None);
    // An infant's: small, the bone thin and soft, the scalp thin.
    let infant = |x: f64, y: f64| match () {
        () if within(x, y, 40.0, 50.0) => 28,
        () if within(x, y, 42.0, 52.0) => 320,
        () if within(x, y, 44.0, 54.0) => 10,
        () => -1000,
    };
    assert_eq!(doubt(&volume(5, 0.7, infant)), None);
    // A bone flap of 90 degrees is missing.
    let flap = |x: f64, y: f64| if head(x, y) == 900 && x > y.abs() { 30 } else { head(x, y) };
    assert_eq!(doubt(&volume(5, 0.9, flap)), None);
    // A large clot and a calcified falx.
    let bled = |x: f64, y: f64| match () {
        () if within(x - 25.0, y, 20.0, 25.0) => 75,
        () if x.abs() < 1.0 && y.abs() < 60.0 => 250,
        () => head(x, y),
    };
    assert_eq!(doubt(&volume(5, 0.9, bled)), None);
}

#[test]
fn other_things() {
    let cylinder = |x: f64, y: f64| if within(x, y, 100.0, 100.0) { 0 } else { -1000 };
    let in_plastic = |x: f64, y: f64| {
        if within(x, y, 95.0, 95.0) { 0 } else { cylinder(x, y) / 8 * 9 + if within(x, y, 100.0, 100.0) { 120 } else { 0 } }
    };
    let thorax = |x: f64, y: f64| match () {
        () if within(x - 70.0, y, 50.0, 70.0) || within(x + 70.0, y, 50.0, 70.0) => -850,
        () if within(x, y - 80.0, 18.0, 18.0) => 500,
        () if within(x, y, 140.0, 95.0) && !within(x, y, 132.0, 88.0) && (x.atan2(y) * 6.0).sin() > 0.0 => 600,
        () if within(x, y, 160.0, 115.0) => 40,
        () => -1000,
    };
    let legs = |x: f64, y: f64| match x.abs() - 90.0 {
        x if within(x, y, 7.0, 7.0) => -50,
        x if within(x, y, 15.0, 15.0) => 1200,
        x if within(x, y, 75.0, 80.0) => 50,
        _ => -1000,
    };
    let ankle = |x: f64, y: f64| match () {
        () if within(x, y, 24.0, 24.0) => 300,
        () if within(x, y, 27.0, 27.0) => 900,
        () if within(x, y, 33.0, 36.0) => 40,
        () => -1000,
    };
    let skull = |x: f64, y: f64| if head(x, y) == 900 { 900 } else { -1000 };
    let bodies: [(&str, Body<'_>); 7] = [
        ("cylinder", &cylinder),
        ("cylinder in plastic", &in_plastic),
        ("thorax", &thorax),
        ("legs", &legs),
        ("ankle", &ankle),
        ("dry skull", &skull),
        ("air", &|_, _| -1000),
    ];
    for (name, hu) in bodies {
        let message = doubt(&volume(5, 1.4, hu)).unwrap_or_else(|| panic!("{name} passes for a head"));
        assert!(message.contains("0 of 5 slices"), "{name}: {message}");
    }
}

/// A head in a field of view for bodies is said, by its own words.
#[test]
fn field_of_view() {
    let message = doubt(&volume(3, 2.0, head)).unwrap();
    assert!(message.contains("512 mm") && !message.contains("slices looked at"), "{message}");
}

/// Some cranial slices are enough; a short stretch of them in a long scan of the body is not.
#[test]
fn a_part_of_the_scan() {
    let air = volume(1, 0.9, |_, _| -1000);
    let mixed = |heads: usize, others: usize| {
        let mut slices = vec![air.slices()[0].clone(); others];
        slices.extend(volume(heads, 0.9, head).slices().iter().cloned());
        doubt(&HuVolume::new(slices, SIDE, SIDE, Some([0.9; 2])).unwrap())
    };
    assert_eq!(mixed(8, 20), None);
    assert!(mixed(3, 60).is_some());
}

/// Odd and tiny volumes, and no spacing, are judged without a panic.
#[test]
fn tiny_volumes() {
    for (rows, cols) in [(1, 1), (1, 300), (300, 1), (2, 3), (97, 193)] {
        for hu in [-1000, 40, 900] {
            let slice =
                HuSlice { pixels: HuPixels::Int(vec![hu; rows * cols]), sop_instance_uid: None, instance_number: None, position_mm: None };
            assert!(doubt(&HuVolume::new(vec![slice], rows, cols, None).unwrap()).is_some());
        }
    }
}
