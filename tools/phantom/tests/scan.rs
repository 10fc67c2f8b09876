//! What a generated scan promises: repeatable, distinct, labelled as its mask says, with tissues and lesions where they belong.

use radnet_phantom::{BleedChoice, Kind, MIN_LABEL_AREA_MM2, Scan, Settings};

/// Small enough for a test, large enough for every structure.
fn small(seed: u64, bleed: BleedChoice) -> Settings {
    Settings { seed, bleed, size: 96, max_slices: 14, ..Settings::default() }
}

/// Equal settings give equal pixels, with one thread and with several.
#[test]
fn a_seed_is_repeatable_with_any_number_of_threads() {
    let settings = small(11, BleedChoice::Of(Kind::Subdural));
    let with = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| Scan::generate(&settings));
    let (one, three) = (with(1), with(3));
    assert_eq!(one.slices, three.slices);
    assert_eq!(one.plan, three.plan);
}

/// Another seed is another head, seen by another scanner.
#[test]
fn two_seeds_differ_everywhere() {
    let (a, b) = (Scan::generate(&small(21, BleedChoice::None)), Scan::generate(&small(22, BleedChoice::None)));
    assert_ne!(a.plan, b.plan);
    let (x, y) = (&a.slices[a.slices.len() / 2].hu, &b.slices[b.slices.len() / 2].hu);
    let equal = x.iter().zip(y).filter(|(p, q)| p == q).count();
    assert!(equal < x.len() / 4, "{equal} of {} pixels agree", x.len());
}

/// Labels follow from the mask's areas, and `none` leaves no mask.
#[test]
fn labels_follow_the_mask() {
    for kind in Kind::ALL {
        let scan = Scan::generate(&small(31, BleedChoice::Of(kind)));
        let pixel = scan.pixel_mm() * scan.pixel_mm();
        for slice in &scan.slices {
            for k in Kind::ALL {
                let area = slice.mask.iter().filter(|c| **c == k.code()).count() as f32 * pixel;
                assert!((area - slice.area_mm2[k.code() as usize - 1]).abs() < 0.5 + 1e-3 * area);
                assert_eq!(slice.labels().any(|l| l == k), slice.area_mm2[k.code() as usize - 1] >= MIN_LABEL_AREA_MM2);
            }
        }
    }
    let none = Scan::generate(&small(31, BleedChoice::None));
    assert!(none.slices.iter().all(|s| s.mask.iter().all(|c| *c == 0)) && !none.positive());
}

/// Every type asked for appears, in nearly every seed, as a labelled lesion.
#[test]
fn a_type_that_is_asked_for_is_there() {
    for kind in Kind::ALL {
        let found = (40..44)
            .filter(|&seed| Scan::generate(&small(seed, BleedChoice::Of(kind))).slices.iter().any(|s| s.labels().any(|l| l == kind)))
            .count();
        assert!(found >= 3, "{} in {found} of 4", kind.name());
    }
}

/// About half of the seeds bleed when the choice is left to them.
#[test]
fn about_half_of_the_seeds_bleed() {
    let tiny = |seed| Settings { seed, size: 48, max_slices: 8, ..Settings::default() };
    let positive = (100..124).filter(|&seed| Scan::generate(&tiny(seed)).positive()).count();
    assert!((5..=18).contains(&positive), "{positive} of 24");
}

/// Clots measure 40 to 100 HU in their middle, brain 15 to 50, air −1024 to −900: what windows and models rely on.
#[test]
fn tissues_have_their_hounsfield_units() {
    for seed in [51, 52, 53] {
        let scan = Scan::generate(&small(seed, BleedChoice::Of(Kind::Intraparenchymal)));
        let n = scan.settings.size;
        let mut clot = Vec::new();
        for slice in &scan.slices {
            let inside = |i: usize| [i - 1, i + 1, i - n, i + n].iter().all(|&j| slice.mask[j] == 2);
            clot.extend((n..n * (n - 1)).filter(|&i| slice.mask[i] == 2 && inside(i)).map(|i| slice.hu[i]));
            let air = median(slice.hu[..n * 3].to_vec());
            assert!((-1024..-900).contains(&air), "air {air}");
        }
        if clot.len() > 20 {
            let value = median(clot);
            assert!((40..100).contains(&value), "clot {value} HU in seed {seed}");
        }
        let middle = &scan.slices[scan.slices.len() * 3 / 5].hu;
        let brain = median(middle.iter().copied().filter(|v| (0..60).contains(v)).collect());
        assert!((15..50).contains(&brain), "brain {brain} HU in seed {seed}");
    }
}

/// Thin bone of the temporal squama still reaches this in pixels of 2 mm.
const BONE: i16 = 110;

/// Masks are enclosed by skull: going left, right, forwards and backwards from a pixel one meets bone before air. Thin squama and foramina let single lines
/// through, so three sides must hold for all but one pixel in a hundred.
#[test]
fn lesions_lie_inside_the_skull() {
    for (seed, kind) in (60..).zip(Kind::ALL) {
        let scan = Scan::generate(&Settings { size: 128, ..small(seed, BleedChoice::Of(kind)) });
        let n = scan.settings.size as isize;
        let (mut all, mut open) = (0, 0);
        for slice in &scan.slices {
            let bone_first = |start: isize, step: isize, count: isize| {
                let path = (0..count).map(|k| slice.hu[(start + k * step) as usize]);
                path.into_iter().find(|v| *v > BONE || *v < -600).is_some_and(|v| v > BONE)
            };
            for at in (0..n * n).filter(|&i| slice.mask[i as usize] > 0) {
                let (row, col) = (at / n, at % n);
                let sides = [(1, n - col), (-1, col + 1), (n, n - row), (-n, row + 1)];
                all += 1;
                open += usize::from(sides.into_iter().filter(|&(step, count)| bone_first(at, step, count)).count() < 3);
            }
        }
        assert!(open * 100 <= all, "{}, seed {seed}: {open} of {all} pixels are not enclosed", kind.name());
    }
}

/// The held-out distribution is another one: other thickness choices, and another scan from the same seed.
#[test]
fn the_shifted_distribution_differs() {
    let plain = small(71, BleedChoice::None);
    let shifted = Settings { shift: true, ..plain.clone() };
    let thick = |s: &Settings| {
        (0..8)
            .map(|k| Scan::generate(&Settings { seed: 71 + k, size: 32, max_slices: 3, ..s.clone() }).plan.slices[0].thickness_mm)
            .fold(0.0, f32::max)
    };
    assert!(thick(&shifted) > thick(&plain));
}

fn median(mut values: Vec<i16>) -> i16 {
    values.sort_unstable();
    values[values.len() / 2]
}
